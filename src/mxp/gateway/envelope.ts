import type { MxpMessage } from '../message.ts'
import { BadPayload, type JsonObject, parsePayload } from '../payload.ts'
import type { Call } from './calls.ts'
import { toCorrelationId } from './call-ids.ts'
import { traceparentOf } from './trace.ts'

/** Fields of a `send` that an envelope may have as they are. */
const OPTIONS = ['ttlMs', 'durability', 'receipt', 'echo', 'ifNone', 'asLeader', 'seq'] as const

/** The envelope of a Call, an Event or a Response. @throws BadPayload */
export function parseEnvelope({ type, payload }: MxpMessage): JsonObject {
  const envelope = parsePayload(payload)
  if (!Object.hasOwn(envelope, 'payload'))
    throw new BadPayload(
      `the payload of ${type} has to be an envelope: {"to":…,"payload":…}; "payload" is missing`,
    )
  return envelope
}

function sendOf(message: MxpMessage, envelope: JsonObject, answered?: string): Record<string, unknown> {
  const send: Record<string, unknown> = { type: 'send', payload: envelope.payload }
  for (const field of OPTIONS) if (envelope[field] !== undefined) send[field] = envelope[field]
  const traceparent = envelope.traceparent ?? traceparentOf(message, answered)
  if (traceparent !== null) send.traceparent = traceparent
  return send
}

/** A Call as a `send`; the correlation id is the gateway's, for it brings the response back. @throws BadPayload */
export function callToSend(message: MxpMessage): Record<string, unknown> {
  const envelope = parseEnvelope(message)
  if (envelope.to == null)
    throw new BadPayload(
      'a Call needs "to" in its envelope: {"agent":…}, {"name":…}, {"capability":…} or {"leader":true}',
    )
  return {
    ...sendOf(message, envelope),
    to: envelope.to,
    messageType: envelope.messageType ?? 'query',
    correlationId: toCorrelationId(message),
  }
}

/** An Event as a `send`: a notification, to all where it names nobody. @throws BadPayload */
export function eventToSend(message: MxpMessage): Record<string, unknown> {
  const envelope = parseEnvelope(message)
  return {
    ...sendOf(message, envelope),
    to: envelope.to ?? { all: true },
    messageType: envelope.messageType ?? 'notification',
    ...(envelope.correlationId == null ? {} : { correlationId: envelope.correlationId }),
  }
}

/** A Response as a `send` to whoever made the Call. @throws BadPayload where neither that nor the envelope says who it was */
export function responseToSend(message: MxpMessage, call: Call | undefined): Record<string, unknown> {
  const envelope = parseEnvelope(message)
  const to = envelope.to ?? (call && { agent: call.from })
  if (to === undefined)
    throw new BadPayload(
      'this connection has no Call with that message id; name "to" and "correlationId" in the envelope',
    )
  return {
    ...sendOf(message, envelope, call?.traceparent),
    to,
    messageType: envelope.messageType ?? 'response',
    correlationId: envelope.correlationId ?? call?.correlationId,
  }
}

/** A response that the gateway makes itself. */
export const responseTo = (
  { from, correlationId, traceparent }: Call,
  message: MxpMessage,
  payload: JsonObject,
): Record<string, unknown> => ({
  ...sendOf(message, { payload }, traceparent),
  to: { agent: from },
  messageType: 'response',
  correlationId,
})

/** Whether a `send` is to one agent: then at most one answers. */
export function isToOne({ to }: JsonObject): boolean {
  if (typeof to !== 'object' || to === null) return false
  const { all, group, mode } = to as JsonObject
  return all == null && group == null && mode !== 'all'
}

/** The receipt that a Call to one agent has where it says nothing of one: its sender is told where nobody will answer. Transient ones have none. */
export const receiptOf = ({ receipt, durability }: JsonObject): unknown =>
  receipt ?? (durability === 'transient' ? null : 'failure')
