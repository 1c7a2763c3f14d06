/** The thread that PostgreSQL runs in: sets the database up, then answers queries. */
import { parentPort } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { cube } from '@electric-sql/pglite/contrib/cube'
import { earthdistance } from '@electric-sql/pglite/contrib/earthdistance'
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm'
import type { Message, Question } from './database.ts'
import { loadCities } from './load.ts'

reportProgress('starting PostgreSQL', 0)
const postgres = await PGlite.create({ extensions: { cube, earthdistance, pg_trgm } })
const places = await loadCities(postgres, reportProgress)
parentPort?.on('message', answer)
send({ kind: 'ready', places })

async function answer({ id, sql, params }: Question): Promise<void> {
  try {
    const { rows } = await postgres.query(sql, params)
    send({ kind: 'rows', id, rows })
  } catch (error) {
    send({ kind: 'failed', id, reason: String(error) })
  }
}

function reportProgress(label: string, done: number): void {
  send({ kind: 'progress', progress: { label, done } })
}

function send(message: Message): void {
  parentPort?.postMessage(message)
}
