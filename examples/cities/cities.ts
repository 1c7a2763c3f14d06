/** What the API asks of the database, in SQL. One function, one query. */
import type { Database } from './database.ts'

export interface City {
  id: number
  name: string
  country: string
  region: string | null
  lat: number
  lng: number
  population: number
}

export type CityNearby = City & { km: number }
export type CityChange = { name?: string; population?: number }
export type CountryList = { country: string; search?: string; page: number; size: number }

const columns = 'c.id, c.name, c.country, r.name AS region, c.lat, c.lng, c.population'
const regions = 'LEFT JOIN regions r ON r.code = c.region_code'

export async function findCity(database: Database, id: number): Promise<City | undefined> {
  const [city] = await database.query<City>(`SELECT ${columns} FROM cities c ${regions} WHERE c.id = $1`, [id])
  return city
}

/** Along the globe, not along a flat map: right at the poles and across the date line too. */
export async function findNearest(database: Database, lat: number, lng: number, limit: number): Promise<CityNearby[]> {
  return database.query<CityNearby>(
    `SELECT ${columns},
            round(earth_distance(ll_to_earth(c.lat, c.lng), ll_to_earth($1, $2))) / 1000 AS km
       FROM cities c ${regions}
      ORDER BY ll_to_earth(c.lat, c.lng) <-> ll_to_earth($1, $2), c.id
      LIMIT $3`,
    [lat, lng, limit],
  )
}

export async function listLargest(
  database: Database,
  { country, search, page, size }: CountryList,
): Promise<{ total: number; cities: City[] }> {
  const where = 'country = $1 AND ($2::text IS NULL OR name ILIKE $2)'
  const rows = await database.query<City & { total: number }>(
    `SELECT ${columns}, (SELECT count(*)::int FROM cities WHERE ${where}) AS total
       FROM (SELECT * FROM cities WHERE ${where} ORDER BY population DESC, id LIMIT $3 OFFSET $4) c ${regions}
      ORDER BY c.population DESC, c.id`,
    [country, search === undefined ? null : `%${escapeForLike(search)}%`, size, (page - 1) * size],
  )
  return { total: rows[0]?.total ?? 0, cities: rows.map(({ total, ...city }) => city) }
}

export async function changeCity(database: Database, id: number, change: CityChange): Promise<City | undefined> {
  const [city] = await database.query<City>(
    `WITH c AS (
       UPDATE cities SET name = coalesce($2, name), population = coalesce($3, population)
        WHERE id = $1 RETURNING *
     )
     SELECT ${columns} FROM c ${regions}`,
    [id, change.name ?? null, change.population ?? null],
  )
  return city
}

function escapeForLike(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`)
}
