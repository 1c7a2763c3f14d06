import type { Board, Notice } from '../backend.ts'
import { type RedisLink, run } from './client.ts'
import type { Place } from './layout.ts'
import { NOTICES, POST } from './scripts.ts'

/** Notices of the processes that share a Redis: a key for each, and a list of who has left one, all in one slot. */
export class RedisBoard implements Board {
  readonly #link: RedisLink
  readonly #place: Place

  constructor(link: RedisLink, place: Place) {
    this.#link = link
    this.#place = place
  }

  async publish(id: string, text: string, milliseconds: number): Promise<void> {
    const { board, notice } = this.#place
    await run(this.#link, POST, [board, notice(id)], [id, text, String(Math.ceil(milliseconds))])
  }

  async read(): Promise<readonly Notice[]> {
    const { board, notice } = this.#place
    const found = (await run(this.#link, NOTICES, [board, notice('')], [])) as unknown[]
    return Array.from({ length: found.length / 2 }, (_, at) => ({
      id: String(found[at * 2]),
      text: String(found[at * 2 + 1]),
    }))
  }
}
