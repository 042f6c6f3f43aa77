import type { Cursor } from '../broadcasts.ts'

/** What one agent has settled of the broadcast log. It only grows. */
export class MemoryCursor {
  #upTo: number
  readonly #beyond = new Set<number>()

  constructor(upTo: number) {
    this.#upTo = upTo
  }

  get upTo(): number {
    return this.#upTo
  }

  has(number: number): boolean {
    return number <= this.#upTo || this.#beyond.has(number)
  }

  /** Adds what `cursor` says to what was settled before. */
  settle(upTo: number, beyond: readonly number[]): void {
    for (const number of beyond) this.#beyond.add(number)
    if (upTo > this.#upTo) this.#upTo = upTo
    while (this.#beyond.has(this.#upTo + 1)) this.#upTo += 1
    for (const number of this.#beyond) if (number <= this.#upTo) this.#beyond.delete(number)
  }

  toCursor(): Cursor {
    return { upTo: this.#upTo, beyond: [...this.#beyond].toSorted((a, b) => a - b) }
  }
}
