/** A token bucket: `perSecond` sustained, `burst` at once. A rate of 0 lets everything through. */
export class RateLimit {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #filledAt: number

  constructor(perSecond: number, burst: number, now: number) {
    this.#perMs = perSecond / 1_000
    this.#burst = burst
    this.#tokens = burst
    this.#filledAt = now
  }

  /** Takes one, or answers in how many milliseconds there will be one (0: taken). */
  take(now: number): number {
    if (this.#perMs === 0) return 0
    if (this.#tokens < 1) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs)
      this.#filledAt = now
      if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / this.#perMs)
    } else if (this.#tokens === this.#burst) {
      this.#filledAt = now
    }
    this.#tokens--
    return 0
  }
}
