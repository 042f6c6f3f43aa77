/** Milliseconds after which a promise ends at the latest: it is given to many, and not all of them come. */
const PROMISE_MAX_MS = 300_000
/** Places that are kept for who was told to come back. */
const KEPT_MAX = 100
/** Milliseconds for which a place is kept after the time that was told. */
const KEPT_MS = 5_000

/** A token bucket: `perSecond` sustained, `burst` at once. A rate of 0 lets everything through. */
export class RateLimit {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #filledAt: number
  #promisedUntil = 0
  /** From when on there are the places that are kept, the earliest first. */
  #kept: number[] = []

  constructor(perSecond: number, burst: number, now: number) {
    this.#perMs = perSecond / 1_000
    this.#burst = burst
    this.#tokens = burst
    this.#filledAt = now
  }

  /** Takes one, or answers in how many milliseconds there will be one (0: taken). */
  take(now: number): number {
    if (this.#perMs === 0) return 0
    this.#fill(now)
    if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / this.#perMs)
    this.#tokens--
    return 0
  }

  /**
   * Takes one, or `count`, in any case, and answers in how many milliseconds it may be used: many who share a bucket are so let through one after
   * the other, in the order they asked, instead of all of them looking again for each that comes free.
   */
  reserve(now: number, count = 1): number {
    if (this.#perMs === 0) return 0
    this.#fill(now)
    this.#tokens -= count
    return this.#tokens >= 0 ? 0 : Math.ceil(-this.#tokens / this.#perMs)
  }

  /**
   * Takes one, or answers in how many milliseconds to come back (0: taken). A place is kept for then, since others who {@link reserve} would
   * leave none; a hundred at most, each for five seconds.
   */
  claim(now: number): number {
    if (this.#perMs === 0) return 0
    this.#fill(now)
    while ((this.#kept[0] ?? now) + KEPT_MS < now) {
      this.#kept.shift()
      this.#tokens = Math.min(this.#burst, this.#tokens + 1)
    }
    if ((this.#kept[0] ?? Number.POSITIVE_INFINITY) <= now) {
      this.#kept.shift()
      return 0
    }
    const waitMs = this.take(now)
    if (waitMs > 0 && this.#kept.length < KEPT_MAX) {
      this.#tokens--
      this.#kept.push(now + waitMs)
    }
    return waitMs
  }

  /** For who was refused: in how many milliseconds to come back. Each is told another time, at the rate at which there will be room. */
  promise(now: number): number {
    const next = Math.max(this.#promisedUntil, now) + 1 / this.#perMs
    this.#promisedUntil = Math.min(next, now + PROMISE_MAX_MS)
    return this.#promisedUntil - now
  }

  #fill(now: number): void {
    // A clock that is set back must not take what there was.
    if (now > this.#filledAt)
      this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs)
    this.#filledAt = now
  }
}
