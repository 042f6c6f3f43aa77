import type { Command } from './commands.ts'
import type { Push } from './pushes.ts'
import type { Reply } from './replies.ts'

/** A frame as it came: an object with a string `type`, nothing else checked. */
export interface RawFrame {
  readonly type: string
  readonly [field: string]: unknown
}

/** Text that is no sequence of JSON objects: the connection has to be closed with 4400. */
export class BrokenText extends Error {
  override readonly name = 'BrokenText'
}

/** The frame of one line that is not empty. @throws BrokenText where it is none */
export function decodeLine(line: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new BrokenText('a line is not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BrokenText('a line is not a JSON object')
  }
  return value as Record<string, unknown>
}

/**
 * The frames of one WebSocket text message: lines separated by U+000A, empty ones ignored (PROTOCOL.md section 1). The only
 * place where wire data is parsed. Whether `type` is a string is left to the reader: that is `bad_frame`, not a close.
 * @throws BrokenText at the first line that is not JSON or no object
 */
export function decode(text: string): Record<string, unknown>[] {
  if (!text.includes('\n')) return text === '' ? [] : [decodeLine(text)]
  const frames: Record<string, unknown>[] = []
  for (const line of text.split('\n')) if (line !== '') frames.push(decodeLine(line))
  return frames
}

/** One frame as text; JSON.stringify never writes U+000A, so frames can be joined with it. */
export function encode(frame: Command | Reply | Push): string {
  return JSON.stringify(frame)
}

/** Whether `value` nests at most `levels` arrays and objects; stops at the first place that is deeper. */
export function nestsWithin(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (levels === 0) return false
  if (Array.isArray(value)) {
    for (const item of value) if (!nestsWithin(item, levels - 1)) return false
    return true
  }
  for (const key in value) if (!nestsWithin((value as Record<string, unknown>)[key], levels - 1)) return false
  return true
}
