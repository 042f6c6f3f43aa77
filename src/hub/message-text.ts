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

const CREATED_AT = '"createdAt":"'
const ISO_CHARS = 24

/** When the sender's hub took a stored message, in milliseconds since 1970 by that hub's clock; null of a receipt. */
export function createdAtOf(text: string): number | null {
  // What stands behind it is short, and a quote in a string would have a backslash before it.
  const at = text.lastIndexOf(CREATED_AT)
  if (at < 0) return null
  const start = at + CREATED_AT.length
  const ms = Date.parse(text.slice(start, start + ISO_CHARS))
  return Number.isNaN(ms) ? null : ms
}

const TRACEPARENT = '"traceparent":"'

/** The trace that a message belongs to, as it was sent; null of one without. */
export function traceparentOf(text: string): string | null {
  const at = text.lastIndexOf(TRACEPARENT)
  // A payload may have such a member; the message's own stands behind its time.
  if (at < 0 || at < text.lastIndexOf(CREATED_AT)) return null
  const start = at + TRACEPARENT.length
  return text.slice(start, text.indexOf('"', start))
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
  traceparent: string | null,
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
  if (traceparent !== null) parts.push(',"traceparent":', JSON.stringify(traceparent))
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
