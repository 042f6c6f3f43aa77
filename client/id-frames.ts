import * as LIMITS from '../protocol/limit-values.ts'

/** Frames that name these messages, as many as it takes; an empty text for none. */
export function idFrames(type: 'ack' | 'progress', ids: readonly string[]): string {
  const frames: string[] = []
  for (let start = 0; start < ids.length; start += LIMITS.idsMax) {
    frames.push(JSON.stringify({ type, ids: ids.slice(start, start + LIMITS.idsMax) }))
  }
  return frames.join('\n')
}
