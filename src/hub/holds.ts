/** Why one connection is read no further, and until when. */
export class Holds {
  readonly #reasons = new Set<string>()
  /** When those for a time end, by `performance.now()`. */
  readonly #until = new Map<string, number>()
  readonly #onOver: (reason: string) => void

  /** @param onOver the time of a hold is over; it still stands */
  constructor(onOver: (reason: string) => void) {
    this.#onOver = onOver
  }

  get any(): boolean {
    return this.#reasons.size > 0
  }

  has(reason: string): boolean {
    return this.#reasons.has(reason)
  }

  add(reason: string): void {
    this.#reasons.add(reason)
  }

  /** Has it end after a time; of two times of one reason the longer one counts. */
  endIn(reason: string, ms: number): void {
    const known = this.#until.get(reason)
    this.#until.set(reason, Math.max(known ?? 0, performance.now() + ms))
    if (known === undefined) this.#wait(reason, ms)
  }

  #wait(reason: string, ms: number): void {
    setTimeout(() => {
      // Timers are exact to a millisecond.
      const leftMs = (this.#until.get(reason) ?? 0) - performance.now()
      if (leftMs > 1) {
        this.#wait(reason, leftMs)
        return
      }
      this.#until.delete(reason)
      this.#onOver(reason)
    }, ms).unref()
  }

  /** Whether it stood. */
  delete(reason: string): boolean {
    return this.#reasons.delete(reason)
  }

  clear(): void {
    this.#reasons.clear()
  }
}
