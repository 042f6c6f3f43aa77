/** A numbered entry of a lane or of the log. */
export interface Numbered {
  readonly number: number
}

export interface FeedSource<Entry extends Numbered> {
  /** Entries above `after`, in order, at most `limit`; `head`: the last number given. */
  read(after: number, limit: number): Promise<{ readonly entries: readonly Entry[]; readonly head: number }>
  /** Pushes one, or decides that it need not be pushed. */
  take(entry: Entry): void
  /** How many more may be taken now. */
  room(): number
}

/** Entries read from the store at once. */
const READ_MAX = 256
const RETRY_MS = 500

/**
 * One numbered source of one session, in order and without gaps: `pushed` is the last number that was taken. An entry that
 * arrives by a signal is taken if it is the next one and there is room; otherwise only `head` rises and the rest stays in
 * the store until there is room. A lost signal shows as a gap and is read up.
 */
export class Feed<Entry extends Numbered> {
  readonly #source: FeedSource<Entry>
  #pushed: number
  #head: number
  #reading = false
  #stopped = false
  #retry: NodeJS.Timeout | null = null

  constructor(source: FeedSource<Entry>, pushed: number) {
    this.#source = source
    this.#pushed = pushed
    this.#head = pushed
  }

  get pushed(): number {
    return this.#pushed
  }

  /** More waits in the store than was pushed. */
  get waiting(): boolean {
    return this.#head > this.#pushed
  }

  /** An entry as a signal brought it; `entry` is null where only its number is known. */
  offer(number: number, entry: Entry | null): void {
    if (number <= this.#pushed || this.#stopped) return
    if (entry && number === this.#pushed + 1 && !this.#reading && this.#source.room() > 0) {
      this.#pushed = number
      this.#source.take(entry)
      return
    }
    if (number > this.#head) this.#head = number
    this.pull()
  }

  /** Reads on where there is more and room for it; with `ask` also where nothing more is known. */
  pull(ask = false): void {
    if (this.#reading || this.#stopped || !(ask || this.waiting)) return
    const limit = Math.min(this.#source.room(), READ_MAX)
    if (limit <= 0) return
    this.#reading = true
    this.#source.read(this.#pushed, limit).then(
      ({ entries, head }) => this.#took(entries, head, limit),
      () => this.#failed(),
    )
  }

  #took(entries: readonly Entry[], head: number, limit: number): void {
    this.#reading = false
    if (this.#stopped) return
    if (head > this.#head) this.#head = head
    for (const entry of entries) {
      if (entry.number <= this.#pushed) continue
      // What was read beyond the room there is now is read again when there is.
      if (this.#source.room() <= 0) return
      this.#pushed = entry.number
      this.#source.take(entry)
    }
    // Fewer than asked for: between the last one and `head` nothing is left.
    if (entries.length < limit && head > this.#pushed) this.#pushed = head
    this.pull()
  }

  /** The store did not answer; its failure is told where commands fail, here only time matters. */
  #failed(): void {
    this.#reading = false
    if (this.#stopped || this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = null
      this.pull(true)
    }, RETRY_MS)
  }

  stop(): void {
    this.#stopped = true
    if (this.#retry) clearTimeout(this.#retry)
  }
}
