import { parseJson, writeJson } from './json-text.ts'
import { toSpecAi } from './message-types.ts'

/**
 * Levels of a payload that a member is handed. serde_json gives up at 128, of which the answer itself takes three, and one message that cannot be read
 * spoils the whole inbox.
 */
const MAX_DEPTH = 120

const PAYLOAD = ',"payload":'
const CORRELATION = ',"correlationId":'
const CREATED = ',"createdAt":"'
const SURROGATE = /\\u[dD][89a-fA-F]/
const LONE_SURROGATE = /\p{Surrogate}/gu

interface Head {
  readonly id: string
  readonly from: string
  readonly via: string
  readonly messageType: string
  readonly customType?: string
}

/** How many arrays and objects are in one another, at most; of JSON. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === 0x22) {
      for (at++; text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++
    } else if (character === 0x5b || character === 0x7b) {
      depth++
      if (depth > deepest) deepest = depth
    } else if (character === 0x5d || character === 0x7d) depth--
  }
  return deepest
}

/** A payload that serde_json can read: half a surrogate pair becomes U+FFFD, what nests too deep a string with its JSON. */
function readable(payload: string): string {
  const text = SURROGATE.test(payload) ? writeJson(parseJson(payload, { lenient: true })) : payload
  return depthOf(text) > MAX_DEPTH ? JSON.stringify(text) : text
}

/** The correlation id that stands in `text` from `start` to its end; null where there is none. */
function correlationIn(text: string, start: number): string | null {
  if (start < 0) return null
  try {
    const value: unknown = JSON.parse(text.slice(start + CORRELATION.length))
    return typeof value === 'string' ? value : null
  } catch {
    // What looked like one was part of the payload.
    return null
  }
}

/**
 * A stored message as JSON for the member `agentId`. The frame was made by hub/message-text.ts: the payload is cut out as it is, so its numbers
 * are those that were sent, and no string in the frame can hold an unescaped quote.
 * @param kinds how many kinds of messages it knows by name
 */
export function toAgentMessage(frame: string, agentId: string, kinds: number): string {
  const payloadAt = frame.indexOf(PAYLOAD)
  const createdAt = frame.lastIndexOf(CREATED)
  const head = JSON.parse(`${frame.slice(0, payloadAt)}}`) as Head
  const body = frame.slice(payloadAt + PAYLOAD.length, createdAt)
  const correlationAt = body.lastIndexOf(CORRELATION)
  const correlationId = correlationIn(body, correlationAt)
  const payload = correlationId === null ? body : body.slice(0, correlationAt)
  const created = frame.slice(createdAt + CREATED.length, frame.indexOf('"', createdAt + CREATED.length))
  const target = head.via === 'direct' ? JSON.stringify(agentId) : 'null'
  const correlation = correlationId?.replaceAll(LONE_SURROGATE, '\ufffd') ?? null
  return `{"message_id":${JSON.stringify(head.id)},"source_instance":${JSON.stringify(head.from)},"target_instance":${target},"message_type":${toSpecAi(head.messageType, head.customType ?? null, kinds)},"payload":${readable(payload)},"correlation_id":${JSON.stringify(correlation)},"created_at":"${created}"}`
}
