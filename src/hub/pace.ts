import type { RateLimit } from './rate-limit.ts'
import type { RateTable } from './rate-table.ts'

/** How fast one connection is read: its own rate, and that of its principal, which other connections and requests use as well. */
export class Pace {
  readonly #own: RateLimit
  readonly #shared: RateTable
  /** The principal's rate has been charged for the frame that comes next. */
  #paid = false

  /** @param shared rates by the subjects of principals */
  constructor(own: RateLimit, shared: RateTable) {
    this.#own = own
    this.#shared = shared
  }

  /**
   * Takes a frame's worth, or answers for how many milliseconds to hold the connection (0: taken).
   * @param subject null: nobody's
   */
  take(subject: string | null, now: number): number {
    if (this.#paid) {
      this.#paid = false
      return 0
    }
    const waitMs = this.#own.take(now)
    if (waitMs > 0 || subject === null) return waitMs
    const sharedMs = this.#shared.reserve(subject, now)
    this.#paid = sharedMs > 0
    return sharedMs
  }

  /** Takes so many frames' worth in any case, and answers for how many milliseconds to hold the connection for them. */
  charge(subject: string | null, now: number, count: number): number {
    const sharedMs = subject === null ? 0 : this.#shared.reserve(subject, now, count)
    return Math.max(this.#own.reserve(now, count), sharedMs)
  }
}
