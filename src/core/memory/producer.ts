import type { ErrorCode } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { SendOutcome } from '../sends.ts'

const WINDOW = LIMITS.producerWindow

/** One client instance's numbered sends: which `seq` comes next, and how the latest ones ended. */
export class MemoryProducer {
  /** Prefix of the ids of its messages. */
  readonly base: string
  #last = 0
  // Recipients, or the error that ended it, at seq mod WINDOW.
  readonly #ends: (number | ErrorCode)[] = []

  constructor(base: string) {
    this.base = base
  }

  /** The `seq` that comes next. */
  get next(): number {
    return this.#last + 1
  }

  /** What a `seq` below `next` is answered. */
  repeat(seq: number): SendOutcome {
    const last = this.#last
    const end = seq > last - WINDOW ? this.#ends[seq % WINDOW] : undefined
    if (end === undefined) return { outcome: 'too_old' }
    return typeof end === 'number'
      ? { outcome: 'duplicate', recipients: end }
      : { outcome: 'refused', code: end, repeated: true }
  }

  /** Ends the next `seq`. */
  end(end: number | ErrorCode): void {
    this.#last += 1
    this.#ends[this.#last % WINDOW] = end
  }
}
