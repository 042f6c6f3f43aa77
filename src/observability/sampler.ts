/** How many of a second are chosen, about. */
const PER_SECOND = 1_000
const WINDOW_MS = 1_000

/**
 * Chooses which messages are measured: all of them up to about a thousand a second, beyond that one in so many, evenly. To look at
 * the clock for each of tens of thousands, and remember it, would cost more than all other counting.
 */
export class Sampler {
  /** One in so many is chosen. */
  #stride = 1
  #untilNext = 1
  #chosen = 0
  #windowStart = 0

  /** Whether this one is chosen. @param now milliseconds; asked only where one is */
  take(now: () => number): boolean {
    this.#untilNext -= 1
    if (this.#untilNext > 0) return false
    this.#choose(now())
    return true
  }

  #choose(now: number): void {
    this.#chosen += 1
    const passedMs = now - this.#windowStart
    if (passedMs >= WINDOW_MS) {
      // As many as there were lately, were they to come in a second.
      const perSecond = (this.#chosen * this.#stride * 1_000) / passedMs
      this.#stride = Math.max(1, Math.ceil(perSecond / PER_SECOND))
      this.#windowStart = now
      this.#chosen = 0
    } else if (this.#chosen > PER_SECOND) {
      this.#stride *= 2
      this.#chosen /= 2
    }
    this.#untilNext = this.#stride
  }
}
