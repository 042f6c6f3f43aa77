import type { DeadLetter } from '../dead-letters.ts'
import { SparseLog } from './sparse-log.ts'

/** The dead letters of a namespace, of which the latest `max` are kept (0: all of them). */
export class DeadList {
  readonly #max: number
  readonly #letters = new SparseLog<DeadLetter>()
  #dropped = 0

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#letters.size
  }

  /** How many there was no room for any more. */
  get dropped(): number {
    return this.#dropped
  }

  add(letter: Omit<DeadLetter, 'position'>): void {
    const number = this.#letters.head + 1
    this.#letters.append(number, { position: String(number), ...letter })
    if (this.#max === 0 || this.#letters.size <= this.#max) return
    this.#letters.delete(this.#letters.first)
    this.#dropped += 1
  }

  get(position: string): DeadLetter | undefined {
    return this.#letters.get(Number(position))
  }

  /** Answers whether it was there. */
  delete(position: string): boolean {
    return this.#letters.delete(Number(position))
  }

  /** In the order they came, after `position` (null: from the start), at most `limit`. */
  after(position: string | null, limit: number): DeadLetter[] {
    return this.#letters.after(Number(position ?? 0), limit)
  }
}
