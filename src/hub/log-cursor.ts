import type { Cursor } from '../core/broadcasts.ts'

/** What one session has settled of the broadcast log, out of order, as a cursor and what is settled beyond it. */
export class LogCursor {
  /** Pushed and not settled, in order of number. */
  readonly #open = new Set<number>()
  /** What earlier sessions settled beyond the cursor. */
  readonly #earlier: ReadonlySet<number>
  /** Settled and not yet told to the store: it keeps the rest, however many there are behind one that stays open. */
  #untold: number[] = []
  readonly #start: number

  constructor({ upTo, beyond }: Cursor) {
    this.#start = upTo
    this.#earlier = new Set(beyond)
  }

  isSettled(number: number): boolean {
    return this.#earlier.has(number)
  }

  /** Pushed: open until settled. Numbers come in order. */
  push(number: number): void {
    this.#open.add(number)
  }

  settle(number: number): void {
    this.#open.delete(number)
    this.#untold.push(number)
  }

  /**
   * What the store is to be told; whoever takes it tells it.
   * @param pushed the last number of the log that was looked at
   */
  take(pushed: number): Cursor {
    let upTo = Math.max(pushed, this.#start)
    for (const number of this.#open) {
      upTo = number - 1
      break
    }
    const beyond = this.#untold.filter((number) => number > upTo)
    this.#untold = []
    return { upTo, beyond }
  }

  /** Not told after all. */
  putBack(beyond: readonly number[]): void {
    this.#untold = [...beyond, ...this.#untold]
  }
}
