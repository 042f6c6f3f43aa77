import * as LIMITS from '../protocol/limit-values.ts'
import { idFrames } from './id-frames.ts'
import type { Line } from './writer.ts'

/**
 * What is acknowledged: told to the hub in few frames, and remembered (the last 10,000), so that what comes again, because the hub
 * did not hear of it, is answered again and not handled again.
 */
export interface Acks {
  /** Whether `id` is acknowledged; then the hub has been told so again. */
  repeat(id: string): boolean
  ack(id: string): void
  /** A session is open: tells what the former one could not. */
  resume(): void
}

/** Remembers the latest of these. */
export function remember<Known>(known: Map<string, Known>, id: string, what: Known): void {
  known.set(id, what)
  const [oldest] = known.keys()
  if (known.size > LIMITS.processedIds) known.delete(oldest as string)
}

export function createAcks(write: (line: Line) => void): Acks {
  const processed = new Map<string, true>()
  let acks: string[] = []
  let scheduled = false

  function schedule(): void {
    scheduled = true
    write(() => {
      scheduled = false
      const ids = acks
      acks = []
      return idFrames('ack', ids)
    })
  }

  function acknowledge(id: string): void {
    acks.push(id)
    if (!scheduled) schedule()
  }

  return {
    repeat(id) {
      const known = processed.has(id)
      if (known) acknowledge(id)
      return known
    },
    ack(id) {
      remember(processed, id, true)
      acknowledge(id)
    },
    resume() {
      if (acks.length > 0) schedule()
    },
  }
}
