import { decode } from '../../protocol/codec.ts'
import type { DeadWhere } from '../../protocol/commands.ts'
import type { Message } from '../../protocol/pushes.ts'
import type { DeadLetterInfo } from '../../protocol/replies.ts'
import type { DeadLetter, Redrive } from '../core/dead-letters.ts'

/** What a hub wrote: a message frame, or the numbers of broadcasts. */
const contentOf = ({ text }: DeadLetter): unknown => decode(text)[0]

/** The message of a dead letter; null of a record that stands for several broadcasts. */
function messageOf(letter: DeadLetter): Message | null {
  return letter.messageId === null ? null : (contentOf(letter) as Message)
}

/** What is told of a dead letter. */
export function toInfo(letter: DeadLetter, withPayload: boolean): DeadLetterInfo {
  const message = messageOf(letter)
  const { position, messageId, agentId, capability, reason, attempts, at } = letter
  return {
    position,
    messageId,
    agentId,
    capability,
    from: message?.from ?? null,
    messageType: message?.messageType ?? null,
    reason,
    attempts,
    createdAt: message?.createdAt ?? null,
    deadAt: new Date(at).toISOString(),
    ...(message === null && { broadcasts: contentOf(letter) as { from: number; to: number } }),
    ...(message !== null && withPayload && { payload: message.payload }),
  }
}

/** Whether every field that `where` gives is the dead letter's. */
export function matches(info: DeadLetterInfo, where: DeadWhere | null | undefined): boolean {
  const asked = Object.entries(where ?? {}) as [keyof DeadWhere, string | null][]
  return asked.every(([field, value]) => value === null || info[field] === value)
}

/** How it is stored once more. A time to live that has ended it would end it again, so it goes on without. */
export function toRedrive(letter: DeadLetter): Redrive {
  const { position, text } = letter
  const message = messageOf(letter)
  if (message?.expiresAt === undefined) return { position, text, expiresAt: null }
  const expiresAt = Date.parse(message.expiresAt)
  if (letter.reason !== 'expired' && expiresAt > Date.now()) return { position, text, expiresAt }
  const { expiresAt: _, attempt: __, ...rest } = message
  return { position, text: JSON.stringify({ ...rest, attempt: 1 }), expiresAt: null }
}
