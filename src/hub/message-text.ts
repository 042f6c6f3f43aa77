import { nestsWithin } from '../../protocol/codec.ts'
import type { Send } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Route } from './router.ts'

const MESSAGE_ID_START = '{"type":"message","id":"'.length
const RECEIPT_START = '{"type":"receipt","receiptId":"'

/**
 * The id that a stored frame is acknowledged by: every one begins with it. A copy, since a slice would keep the whole text in
 * memory for as long as the id is remembered.
 */
export function idOf(text: string): string {
  const start = text.startsWith(RECEIPT_START) ? RECEIPT_START.length : MESSAGE_ID_START
  return Buffer.from(text.slice(start, text.indexOf('"', start)), 'latin1').toString('latin1')
}

/** A payload as JSON. @throws MeshError `bad_frame` where it nests too deep, `payload_too_large` */
export function payloadText(payload: unknown, maxBytes: number): string {
  if (!nestsWithin(payload, LIMITS.payloadMaxDepth)) {
    throw new MeshError('bad_frame', `payload nests deeper than ${LIMITS.payloadMaxDepth} levels; flatten it`)
  }
  const text = JSON.stringify(payload) ?? 'null'
  // A UTF-16 unit is at most three bytes, so short texts need not be measured.
  if (text.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(text)
    if (bytes > maxBytes) {
      throw new MeshError(
        'payload_too_large',
        `payload has ${bytes} bytes of JSON; at most ${maxBytes} are allowed`,
        { details: bytes },
      )
    }
  }
  return text
}

/**
 * The frame that is pushed, made once: stored as it is, and ending in `,"attempt":1}` so that another attempt can be put in.
 * @param from the sender's id as JSON
 * @param customType the type as its sender wrote it, where `messageType` cannot say it
 */
export function messageText(
  id: string,
  from: string,
  way: Route,
  frame: Pick<Send, 'messageType' | 'correlationId' | 'traceparent' | 'durability'>,
  payload: string,
  now: number,
  expiresAt: number | null,
  customType: string | null = null,
): string {
  // Joined, not concatenated: V8 keeps a concatenated string as a tree of its parts until it is read, and tens of thousands of
  // such trees under way are most of what the garbage collector has to do. This line more than doubles the messages a second.
  const parts = ['{"type":"message","id":"', id, '","from":', from, ',"via":"', way.via, '",']
  if (way.value !== null)
    parts.push(way.via === 'group' ? '"group":' : '"capability":', JSON.stringify(way.value), ',')
  parts.push('"messageType":"', frame.messageType)
  parts.push(customType === null ? '"' : `","customType":${JSON.stringify(customType)}`)
  parts.push(',"payload":', payload)
  if (frame.correlationId != null) parts.push(',"correlationId":', JSON.stringify(frame.correlationId))
  parts.push(',"createdAt":"', isoTime(now), '"')
  if (expiresAt !== null) parts.push(',"expiresAt":"', isoTime(expiresAt), '"')
  if (frame.traceparent != null) parts.push(',"traceparent":', JSON.stringify(frame.traceparent))
  if (frame.durability === 'transient') parts.push(',"transient":true')
  parts.push(',"attempt":1}')
  return parts.join('')
}

let lastIso = ''
let lastIsoMs = 0
/** Messages of one millisecond share their text. */
function isoTime(ms: number): string {
  if (ms !== lastIsoMs) {
    lastIsoMs = ms
    lastIso = new Date(ms).toISOString()
  }
  return lastIso
}
