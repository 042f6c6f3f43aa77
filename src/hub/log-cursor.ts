import type { Cursor } from '../core/broadcasts.ts'

/** What one session has settled of the broadcast log, out of order, as a cursor and what is settled beyond it. */
export class LogCursor {
  /** Pushed and not settled, in order of number. */
  readonly #open = new Set<number>()
  readonly #beyond: Set<number>
  readonly #start: number

  constructor({ upTo, beyond }: Cursor) {
    this.#start = upTo
    this.#beyond = new Set(beyond)
  }

  isSettled(number: number): boolean {
    return this.#beyond.has(number)
  }

  /** Pushed: open until settled. Numbers come in order. */
  push(number: number): void {
    this.#open.add(number)
  }

  settle(number: number): void {
    this.#open.delete(number)
    this.#beyond.add(number)
  }

  /** @param pushed the last number of the log that was looked at */
  value(pushed: number): Cursor {
    let upTo = Math.max(pushed, this.#start)
    for (const number of this.#open) {
      upTo = number - 1
      break
    }
    for (const number of this.#beyond) if (number <= upTo) this.#beyond.delete(number)
    return { upTo, beyond: [...this.#beyond] }
  }
}
