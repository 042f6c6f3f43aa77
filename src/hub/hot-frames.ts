import { type Ack, type Send, STREAM_ID_PATTERN, type StreamChunk } from '../../protocol/commands.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { MESSAGE_TYPE_PATTERN } from '../../protocol/message.ts'

/**
 * The three frames that come in floods, checked by hand: a schema costs about as much as all else that a send costs the hub
 * (`npm run bench`). What is not plainly right is left to the schema, which says what is wrong; hot-frames.test.ts holds that
 * nothing passes here that the schema would refuse.
 */
type Raw = Record<string, unknown>

const { stringChars, idsMax, targetMaxChars } = LIMITS

/** The frame as an `ack`, or null where the schema has to look. */
export function readAck(frame: Raw): Ack | null {
  const { ids } = frame
  if (!Array.isArray(ids) || ids.length > idsMax) return null
  for (const id of ids) if (typeof id !== 'string' || id.length > stringChars) return null
  return frame as unknown as Ack
}

const isRef = (ref: unknown): boolean =>
  typeof ref === 'number' ? Number.isSafeInteger(ref) : typeof ref === 'string' && ref.length <= stringChars

const isSeq = (seq: unknown): boolean =>
  seq === undefined || (typeof seq === 'number' && Number.isSafeInteger(seq) && seq >= 1)

const isText = (text: unknown): boolean =>
  text === undefined || (typeof text === 'string' && text.length <= stringChars)

/** What this door calls a capability; agents of other doors have freer ones, which the schema takes. */
const PLAIN_CAPABILITY = /^[a-z0-9-]{2,32}$/

/** `{"agent":"…"}` or `{"capability":"…"}` and nothing else: what nearly every send has. */
function isPlainTarget(to: unknown): boolean {
  if (typeof to !== 'object' || to === null) return false
  const { agent, capability } = to as Raw
  const key = agent === undefined ? 'capability' : 'agent'
  if (key === 'capability') {
    if (typeof capability !== 'string' || !PLAIN_CAPABILITY.test(capability)) return false
  } else if (typeof agent !== 'string' || agent.length === 0 || agent.length > targetMaxChars) {
    return false
  }
  for (const one in to) if (one !== key) return false
  return true
}

/** A `send` to an agent or a work queue without options beyond a correlation id, a trace and a time to live, or null where the schema has to look. */
export function readSend(frame: Raw): Send | null {
  if (!isRef(frame.ref) || !isSeq(frame.seq) || !isPlainTarget(frame.to) || !isText(frame.correlationId))
    return null
  const { messageType, payload, ttlMs } = frame
  if (payload === undefined) return null
  if (typeof messageType !== 'string' || !MESSAGE_TYPE_PATTERN.test(messageType)) return null
  if (
    ttlMs !== undefined &&
    !(typeof ttlMs === 'number' && Number.isSafeInteger(ttlMs) && ttlMs >= 1 && ttlMs <= LIMITS.durationMaxMs)
  ) {
    return null
  }
  if (frame.durability !== undefined && frame.durability !== 'stored') return null
  if (frame.receipt !== undefined || frame.echo !== undefined || frame.ifNone !== undefined) return null
  if (frame.asLeader !== undefined || !isText(frame.traceparent)) return null
  return frame as unknown as Send
}

/** The frame as a `stream.chunk`, or null where the schema has to look. */
export function readChunk(frame: Raw): StreamChunk | null {
  const { stream, seq, payload } = frame
  if (typeof stream !== 'string' || !STREAM_ID_PATTERN.test(stream) || payload === undefined) return null
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0) return null
  return frame as unknown as StreamChunk
}
