import * as LIMITS from '../protocol/limit-values.ts'
import type { Message } from '../protocol/pushes.ts'
import { createAcks, remember } from './acks.ts'
import type { Acks } from './acks.ts'
import type { Nack } from './nack.ts'
import type { Line } from './writer.ts'

type Pushed = Pick<Message, 'attempt' | 'via'>

interface Refused {
  readonly line: string
  readonly attempt: number
}

/** What became of each message: acknowledged or given back, so that one that comes again is answered again and not handled again. */
export interface Settlements extends Acks {
  /** Whether `id` is settled; then the hub has been told so again. `message`: as it came. */
  repeat(id: string, message?: Pushed): boolean
  /**
   * Gives a message back, which came at that attempt; `held`: the hub has pushed it in the session that is open, so it
   * listens.
   */
  nack(id: string, attempt: number, nack: Nack, delayMs: number, held: boolean): void
}

/** Whether what comes is what was refused, and no new try of it: sent again from the dead letters, or work that others had meanwhile. */
const isSame = (refused: Refused, { attempt, via }: Pushed): boolean =>
  attempt > refused.attempt && (via !== 'queue' || attempt === refused.attempt + 1)

/** `acks`: where there are some already. */
export function createSettlements(write: (line: Line) => void, acks = createAcks(write)): Settlements {
  /** Given back while the hub could not hear it: the `nack` to answer with when the message comes again. */
  const refusals = new Map<string, Refused>()

  return {
    ...acks,
    repeat(id, message) {
      const refused = refusals.get(id)
      refusals.delete(id)
      if (!refused || (message && !isSame(refused, message))) return acks.repeat(id)
      write(refused.line)
      return true
    },
    nack(id, attempt, { message, requeue }, delayMs, held) {
      const reason = message.slice(0, LIMITS.stringChars)
      const line = JSON.stringify({ type: 'nack', id, requeue, delayMs, reason })
      if (held) write(line)
      else remember(refusals, id, { line, attempt })
    },
  }
}
