import { show } from '../../protocol/agent.ts'
import { LIMITS } from '../../protocol/limits.ts'

/** A payload that is not what its type calls for. */
export class BadPayload extends Error {
  override readonly name = 'BadPayload'
}

export type JsonObject = Readonly<Record<string, unknown>>

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** A payload that is a JSON object in UTF-8. @throws BadPayload */
export function parsePayload(payload: Uint8Array): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(payload))
  } catch (cause) {
    throw new BadPayload('the payload is not JSON in UTF-8', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadPayload('the payload is not a JSON object')
  return value as JsonObject
}

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
