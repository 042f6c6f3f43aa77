import { toBinaryFrame } from '../../hub/outbox.ts'
import { encode } from '../codec.ts'
import type { MxpType } from '../message.ts'
import { toPayload } from '../payload.ts'
import type { MxpIds } from './call-ids.ts'

/** One MXP message as one WebSocket message. @param body what the payload says as JSON; undefined: nothing */
export function toWire(type: MxpType, { messageId, traceId }: MxpIds, body: unknown, flags = 0): Buffer {
  const payload = body === undefined ? new Uint8Array() : toPayload(body)
  return toBinaryFrame(encode({ type, flags, messageId, traceId, payload }))
}
