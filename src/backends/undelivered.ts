/** Keeps invalidations that were not delivered where they outlive the process. */
export interface Journal {
  /** What an earlier process has left, and whether it was told that everything is wrong. */
  read(): { readonly tags: readonly string[]; readonly everything: boolean }
  /** Adds tags; or everything, where there are none. */
  add(tags: readonly string[] | undefined): void
  /** All of it was delivered. */
  empty(): void
}

const MOST_TAGS = 10_000

/** Invalidations that the backend has not taken yet; where there are too many they become one of everything. */
export class Undelivered {
  readonly #journal: Journal | undefined
  readonly #onFault: (error: unknown) => void
  readonly #tags = new Set<string>()
  #everything = false
  // What was taken out and is not known to be delivered.
  #underWay: readonly string[] | 'everything' = []
  // What the journal has, so that nothing is written twice however often its delivery fails.
  readonly #written = new Set<string | undefined>()

  constructor(journal: Journal | undefined, onFault: (error: unknown) => void) {
    this.#journal = journal
    this.#onFault = onFault
    this.#attempt((journal) => {
      const { tags, everything } = journal.read()
      if (!everything && tags.length === 0) return
      this.#keep(everything ? undefined : tags)
      for (const tag of everything ? [undefined] : tags) this.#written.add(tag)
    })
  }

  get isEmpty(): boolean {
    return !this.#everything && this.#tags.size === 0
  }

  /** How many names wait, or are on their way; or everything. */
  get size(): number | 'everything' {
    if (this.#everything || this.#underWay === 'everything') return 'everything'
    return new Set([...this.#tags, ...this.#underWay]).size
  }

  /** Keeps tags, or everything. */
  add(tags: readonly string[] | undefined): void {
    this.#keep(tags)
    this.#attempt((journal) => {
      const news = (this.#everything ? [undefined] : (tags ?? [])).filter((tag) => !this.#written.has(tag))
      if (news.length === 0) return
      journal.add(this.#everything ? undefined : (news as string[]))
      for (const tag of news) this.#written.add(tag)
    })
  }

  /** All that is kept, to be delivered; undefined is everything. What cannot be delivered has to be added again. */
  takeOut(): readonly string[] | undefined {
    const tags = this.#everything ? undefined : [...this.#tags]
    this.#underWay = tags ?? 'everything'
    this.#everything = false
    this.#tags.clear()
    return tags
  }

  /** What was taken out is delivered. */
  settle(): void {
    this.#underWay = []
    if (this.#written.size === 0) return
    this.#written.clear()
    this.#attempt((journal) => journal.empty())
  }

  #keep(tags: readonly string[] | undefined): void {
    if (this.#everything) return
    for (const tag of tags ?? []) this.#tags.add(tag)
    if (tags !== undefined && this.#tags.size <= MOST_TAGS) return
    this.#everything = true
    this.#tags.clear()
  }

  // A journal that cannot be written leaves what it was before: memory alone.
  #attempt(act: (journal: Journal) => void): void {
    try {
      if (this.#journal) act(this.#journal)
    } catch (error) {
      this.#onFault(error)
    }
  }
}
