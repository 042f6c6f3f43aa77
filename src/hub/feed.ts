/** A numbered entry of a lane or of the log. */
export interface Numbered {
  readonly number: number
}

export interface FeedSource<Entry extends Numbered> {
  /** Entries above `after`, in order, at most `limit`; `head`: the last number given. */
  read(after: number, limit: number): Promise<{ readonly entries: readonly Entry[]; readonly head: number }>
  /** Pushes one, or decides that it need not be pushed. `read`: it was read from the store, it has waited there. */
  take(entry: Entry, read: boolean): void
  /** How many more may be taken now. */
  room(): number
  /** The store has given fewer numbers than were taken: it went back, and what it gives next looks like what was taken. */
  wentBack(): void
}

/** Entries read from the store at once: few at first, since they may be large and room may end with the first of them. */
const READ_FIRST = 16
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
  /** Signals may have been lost: the store may have more than `head`. */
  #unsure = false
  #limit = READ_FIRST
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

  /** How many wait in the store, as far as is known; some of them may be gone already. */
  get left(): number {
    return this.#head > this.#pushed ? this.#head - this.#pushed : 0
  }

  /** More waits in the store than was pushed, or may wait there. */
  get waiting(): boolean {
    return this.#unsure || this.#head > this.#pushed
  }

  /** An entry as a signal brought it; `entry` is null where only its number is known. */
  offer(number: number, entry: Entry | null): void {
    if (number <= this.#pushed || this.#stopped) return
    if (entry && number === this.#pushed + 1 && !this.#reading && this.#source.room() > 0) {
      this.#pushed = number
      this.#source.take(entry, false)
      return
    }
    if (number > this.#head) this.#head = number
    void this.pull()
  }

  /**
   * Reads on where there is more and room for it; with `ask` also where nothing more is known, now or when there is room.
   * @returns resolves, and never rejects, when what is read now was taken; null where nothing is
   */
  pull(ask = false): Promise<void> | null {
    if (ask) this.#unsure = true
    if (this.#reading || this.#stopped || !this.waiting) return null
    const limit = Math.min(this.#source.room(), this.#limit)
    if (limit <= 0) return null
    this.#reading = true
    this.#unsure = false
    const known = this.#head
    return this.#source.read(this.#pushed, limit).then(
      ({ entries, head }) => this.#took(entries, head, limit, known),
      () => this.#failed(),
    )
  }

  /** @param known `head` when the reading began */
  #took(entries: readonly Entry[], head: number, limit: number, known: number): void {
    this.#reading = false
    if (this.#stopped) return
    if (head < this.#pushed) {
      this.#source.wentBack()
      return
    }
    const all = entries.length < limit
    // A signal of what the store does not have (any more) must not be asked for again and again.
    if (head > this.#head || (all && this.#head === known)) this.#head = head
    let taken = 0
    for (const entry of entries) {
      if (entry.number <= this.#pushed) continue
      if (this.#source.room() <= 0) {
        // What was read beyond the room there is now is read again when there is: next time not so much.
        this.#limit = Math.max(1, taken)
        return
      }
      this.#pushed = entry.number
      this.#source.take(entry, true)
      taken++
    }
    if (!all) this.#limit = Math.min(this.#limit * 2, READ_MAX)
    // Fewer than asked for: between the last one and `head` nothing is left.
    else if (head > this.#pushed) this.#pushed = head
    void this.pull()
  }

  /** The store did not answer; its failure is told where commands fail, here only time matters. */
  #failed(): void {
    this.#reading = false
    this.#unsure = true
    if (this.#stopped || this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = null
      void this.pull()
    }, RETRY_MS)
  }

  stop(): void {
    this.#stopped = true
    if (this.#retry) clearTimeout(this.#retry)
  }
}
