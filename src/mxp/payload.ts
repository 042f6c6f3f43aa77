import { show } from '../../protocol/agent.ts'
import { nestsWithin } from '../../protocol/codec.ts'
import { LIMITS } from '../../protocol/limits.ts'

/** A payload that is not what its type calls for. */
export class BadPayload extends Error {
  override readonly name = 'BadPayload'
}

export type JsonObject = Readonly<Record<string, unknown>>

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Levels that serde_json, by which agents of the SDK read and write, can read. */
const DEPTH_MAX = 127
/** Levels of what is passed on to an agent, as at the door over HTTP: envelopes around it take some more. */
const READABLE_DEPTH_MAX = 120
/** What may be a number beyond the largest that there is: only then each one is looked at. */
const MAYBE_HUGE = /\d[eE]\+?\d{3}|\d{200}/

/** A payload that is a JSON object in UTF-8, of whose numbers and levels nothing gets lost. @throws BadPayload */
export function parsePayload(payload: Uint8Array): JsonObject {
  let text: string
  let value: unknown
  try {
    text = decoder.decode(payload)
    value = JSON.parse(text)
  } catch (cause) {
    throw new BadPayload('the payload is not JSON in UTF-8', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadPayload('the payload is not a JSON object')
  if (!nestsWithin(value, DEPTH_MAX))
    throw new BadPayload(`the payload nests deeper than ${DEPTH_MAX} levels; flatten it`)
  if (MAYBE_HUGE.test(text) && hasInfinity(value))
    throw new BadPayload('a number of the payload is beyond what a double can be; send it as a string')
  return value as JsonObject
}

/** Whether a number in it was too large to be one. */
function hasInfinity(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return false
  return Object.values(value).some(hasInfinity)
}

/** What is passed on to an agent, as its reader can read it: what nests too deep as a string with its JSON. */
export const readable = (payload: unknown): unknown =>
  nestsWithin(payload, READABLE_DEPTH_MAX) ? payload : JSON.stringify(payload)

/** An escape that `JSON.stringify` writes for half a surrogate pair, behind whole escapes of backslashes. */
const HALF_PAIR = /(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g

/** JSON that parsers of every language take: half a surrogate pair, which most refuse, and all of the text with it, becomes U+FFFD. */
export const toPayload = (value: unknown): Uint8Array => {
  const text = JSON.stringify(value)
  return encoder.encode(text.includes('\\ud') ? text.replace(HALF_PAIR, '$1\\ufffd') : text)
}

/** A field that has to be the name of something: 1 to 256 characters. @throws BadPayload */
export function nameOf(payload: JsonObject, field: string): string {
  const text = textOf(payload, field)
  if (text.length >= 1 && text.length <= LIMITS.targetMaxChars) return text
  throw new BadPayload(`${field} ${show(text)} must have 1 to ${LIMITS.targetMaxChars} characters`)
}

/** A field that has to be a string. @throws BadPayload */
export function textOf(payload: JsonObject, field: string): string {
  const value = payload[field]
  if (typeof value === 'string') return value
  throw new BadPayload(
    value === undefined ? `${field} is missing` : `${field} is ${show(value)}, not a string`,
  )
}
