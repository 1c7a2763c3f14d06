/** From an empty database to one with every place in it and the indexes that the queries need. */
import type { PGlite } from '@electric-sql/pglite'
import { makeUpPopulation, type Place, readPlaces, readRegions } from './dataset.ts'

/** `done` is the part of the whole set-up that lies behind, from 0 to 1. */
type OnProgress = (label: string, done: number) => void
type Cell = string | number

const batchSize = 10_000

const tables = `
  CREATE EXTENSION cube;
  CREATE EXTENSION earthdistance;
  CREATE EXTENSION pg_trgm;
  CREATE UNLOGGED TABLE regions (code text PRIMARY KEY, name text NOT NULL);
  CREATE UNLOGGED TABLE cities (
    id int NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    region_code text NOT NULL,
    lat float8 NOT NULL,
    lng float8 NOT NULL,
    population int NOT NULL
  );
  COMMENT ON COLUMN cities.population IS 'made up for the demo';
`

// Built after the load, because keeping them up to date during the load takes twice as long.
const indexes = [
  { label: 'indexing cities', done: 0.42, sql: 'ALTER TABLE cities ADD PRIMARY KEY (id)' },
  { label: 'indexing countries', done: 0.44, sql: 'CREATE INDEX ON cities (country, population DESC, id)' },
  { label: 'indexing names', done: 0.47, sql: 'CREATE INDEX ON cities USING gin (name gin_trgm_ops)' },
  {
    label: 'indexing positions',
    done: 0.57,
    // Half-full pages, because the time goes into splitting pages, and small ones split faster.
    sql: 'CREATE INDEX ON cities USING gist (ll_to_earth(lat, lng)) WITH (fillfactor = 50)',
  },
  { label: 'counting for the query planner', done: 0.95, sql: 'VACUUM ANALYZE cities' },
]

/** Returns how many places were loaded. */
export async function loadCities(postgres: PGlite, onProgress: OnProgress): Promise<number> {
  onProgress('reading places', 0.25)
  const places = readPlaces()
  await postgres.exec(tables)
  await copyRows(
    postgres,
    'regions',
    readRegions().map(({ code, name }) => [code, name]),
  )
  await copyPlaces(postgres, places, onProgress)
  for (const { label, done, sql } of indexes) {
    onProgress(label, done)
    await postgres.exec(sql)
  }
  onProgress('ready', 1)
  return places.length
}

async function copyPlaces(postgres: PGlite, places: Place[], onProgress: OnProgress): Promise<void> {
  for (let start = 0; start < places.length; start += batchSize) {
    onProgress('loading places', 0.29 + 0.13 * (start / places.length))
    const batch = places.slice(start, start + batchSize)
    await copyRows(
      postgres,
      'cities',
      batch.map((place, index) => toRow(place, start + index + 1)),
    )
  }
}

/** The data has no identifiers: a place's id is its position in the file. */
function toRow(place: Place, id: number): Cell[] {
  const regionCode = `${place.country}.${place.admin1}`
  return [id, place.name, place.country, regionCode, place.lat, place.lng, makeUpPopulation(place)]
}

/** COPY, because INSERT takes half as long again from arrays (unnest), and twice as long from JSON. */
async function copyRows(postgres: PGlite, table: string, rows: Cell[][]): Promise<void> {
  const lines = rows.map((row) => row.map(escapeForCopy).join('\t'))
  await postgres.query(`COPY ${table} FROM '/dev/blob'`, [], { blob: new Blob([lines.join('\n')]) })
}

function escapeForCopy(cell: Cell): string {
  return String(cell).replace(/[\\\t\n\r]/g, (character) => `\\${character}`)
}
