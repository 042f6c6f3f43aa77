import * as LIMITS from '../protocol/limit-values.ts'
import { idFrames } from './id-frames.ts'
import type { Message } from '../protocol/pushes.ts'
import type { Nack } from './nack.ts'
import type { Line } from './writer.ts'

interface Refused {
  readonly line: string
  readonly attempt: number
}

/** Whether what comes is what was refused, and no new try of it: sent again from the dead letters, or work that others had meanwhile. */
const isSame = (refused: Refused, { attempt, via }: Pick<Message, 'attempt' | 'via'>): boolean =>
  attempt > refused.attempt && (via !== 'queue' || attempt === refused.attempt + 1)

function trim(remembered: Set<string> | Map<string, unknown>): void {
  if (remembered.size <= LIMITS.processedIds) return
  const oldest = remembered.keys().next()
  if (oldest.done !== true) remembered.delete(oldest.value)
}

/**
 * What became of each message: acknowledged or given back, told to the hub in few frames, and remembered (the last 10,000), so
 * that a message that comes again, because the hub did not hear of it, is answered again and not handled again.
 */
export class Settlements {
  readonly #write: (line: Line) => void
  readonly #processed = new Set<string>()
  /** Given back while the hub could not hear it: the `nack` to answer with when the message comes again. */
  readonly #refused = new Map<string, Refused>()
  #acks: string[] = []
  #scheduled = false

  constructor(write: (line: Line) => void) {
    this.#write = write
  }

  /** Whether `id` is settled; then the hub has been told so again. `message`: as it came. */
  repeat(id: string, message?: Pick<Message, 'attempt' | 'via'>): boolean {
    const refused = this.#refused.get(id)
    if (refused !== undefined) {
      this.#refused.delete(id)
      if (message === undefined || isSame(refused, message)) {
        this.#write(refused.line)
        return true
      }
    }
    if (!this.#processed.has(id)) return false
    this.#acknowledge(id)
    return true
  }

  ack(id: string): void {
    this.#processed.add(id)
    trim(this.#processed)
    this.#acknowledge(id)
  }

  /**
   * Gives a message back, which came at that attempt; `held`: the hub has pushed it in the session that is open, so it
   * listens.
   */
  nack(id: string, attempt: number, { message, requeue }: Nack, delayMs: number, held: boolean): void {
    const reason = message.slice(0, LIMITS.stringChars)
    const line = JSON.stringify({ type: 'nack', id, requeue, delayMs, reason })
    if (held) {
      this.#write(line)
      return
    }
    this.#refused.set(id, { line, attempt })
    trim(this.#refused)
  }

  /** A session is open: tells what the former one could not. */
  resume(): void {
    if (this.#acks.length > 0) this.#schedule()
  }

  #acknowledge(id: string): void {
    this.#acks.push(id)
    if (!this.#scheduled) this.#schedule()
  }

  #schedule(): void {
    this.#scheduled = true
    this.#write(() => this.#frames())
  }

  #frames(): string {
    this.#scheduled = false
    const ids = this.#acks
    this.#acks = []
    return idFrames('ack', ids)
  }
}
