import * as LIMITS from '../protocol/limit-values.ts'
import type { Message } from '../protocol/pushes.ts'
import { idFrames } from './id-frames.ts'
import type { Nack } from './nack.ts'
import type { Line } from './writer.ts'

type Pushed = Pick<Message, 'attempt' | 'via'>

interface Refused {
  readonly line: string
  readonly attempt: number
}

/**
 * What became of each message: acknowledged or given back, told to the hub in few frames, and remembered (the last 10,000), so
 * that a message that comes again, because the hub did not hear of it, is answered again and not handled again.
 */
export interface Settlements {
  /** Whether `id` is settled; then the hub has been told so again. `message`: as it came. */
  repeat(id: string, message?: Pushed): boolean
  ack(id: string): void
  /**
   * Gives a message back, which came at that attempt; `held`: the hub has pushed it in the session that is open, so it
   * listens.
   */
  nack(id: string, attempt: number, nack: Nack, delayMs: number, held: boolean): void
  /** A session is open: tells what the former one could not. */
  resume(): void
}

/** Whether what comes is what was refused, and no new try of it: sent again from the dead letters, or work that others had meanwhile. */
const isSame = (refused: Refused, { attempt, via }: Pushed): boolean =>
  attempt > refused.attempt && (via !== 'queue' || attempt === refused.attempt + 1)

function remember<Known>(known: Map<string, Known>, id: string, what: Known): void {
  known.set(id, what)
  const [oldest] = known.keys()
  if (known.size > LIMITS.processedIds) known.delete(oldest as string)
}

export function createSettlements(write: (line: Line) => void): Settlements {
  const processed = new Map<string, true>()
  /** Given back while the hub could not hear it: the `nack` to answer with when the message comes again. */
  const refusals = new Map<string, Refused>()
  let acks: string[] = []
  let scheduled = false

  function schedule(): void {
    scheduled = true
    write(() => {
      scheduled = false
      const ids = acks
      acks = []
      return idFrames('ack', ids)
    })
  }

  function acknowledge(id: string): void {
    acks.push(id)
    if (!scheduled) schedule()
  }

  return {
    repeat(id, message) {
      const refused = refusals.get(id)
      refusals.delete(id)
      if (refused && (!message || isSame(refused, message))) {
        write(refused.line)
        return true
      }
      const known = processed.has(id)
      if (known) acknowledge(id)
      return known
    },
    ack(id) {
      remember(processed, id, true)
      acknowledge(id)
    },
    nack(id, attempt, { message, requeue }, delayMs, held) {
      const reason = message.slice(0, LIMITS.stringChars)
      const line = JSON.stringify({ type: 'nack', id, requeue, delayMs, reason })
      if (held) write(line)
      else remember(refusals, id, { line, attempt })
    },
    resume() {
      if (acks.length > 0) schedule()
    },
  }
}
