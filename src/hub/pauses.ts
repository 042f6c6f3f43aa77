/** Waits that end early when what they are part of ends. */
export class Pauses {
  readonly #waiting = new Set<() => void>()
  #over = false

  /** Resolves after `ms` milliseconds, or at the end; at once where that is over. */
  async wait(ms: number): Promise<void> {
    if (this.#over) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#waiting.add(done)
    })
  }

  end(): void {
    this.#over = true
    for (const done of this.#waiting) done()
  }
}
