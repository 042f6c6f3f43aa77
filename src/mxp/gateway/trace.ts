import type { MxpMessage } from '../message.ts'

/** W3C Trace Context, level 1: version, trace id, parent id, flags. */
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{16})([0-9a-f]{16})-[0-9a-f]{16}-[0-9a-f]{2}/

const toHex = (id: bigint): string => id.toString(16).padStart(16, '0')

/** The u64 by which MXP knows a trace: the low 8 bytes of its W3C id. 0: there is none. */
export function traceIdOf(traceparent: string | undefined): bigint {
  const low = TRACEPARENT.exec(traceparent ?? '')?.[2]
  return low === undefined ? 0n : BigInt(`0x${low}`)
}

/**
 * A message as a span of its trace, whose id has zeros above the u64; null where it names none. An answer is a span of the trace of what it answers, the
 * upper half of whose id MXP could not carry.
 */
export function traceparentOf({ messageId, traceId }: MxpMessage, answered?: string): string | null {
  if (traceId === 0n) return null
  const high = (traceIdOf(answered) === traceId && TRACEPARENT.exec(answered ?? '')?.[1]) || '0'.repeat(16)
  // A span's id is not 0.
  return `00-${high}${toHex(traceId)}-${toHex(messageId === 0n ? traceId : messageId)}-01`
}
