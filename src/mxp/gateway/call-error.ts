import { LIMITS } from '../../../protocol/limits.ts'
import type { JsonObject } from '../payload.ts'
import type { RegistryCode } from '../registry-error.ts'

/** What an Error says of something that was pushed. */
export interface Rejection {
  /** Null: it says nothing of it. */
  readonly requeue: boolean | null
  /** Null: it names none. */
  readonly delayMs: number | null
  /** As the dead letters have it. */
  readonly reason: string | null
}

export function toRejection({ error, requeue, delayMs }: JsonObject): Rejection {
  const isDelay = Number.isSafeInteger(delayMs) && (delayMs as number) >= 0
  return {
    requeue: typeof requeue === 'boolean' ? requeue : null,
    delayMs: isDelay ? Math.min(delayMs as number, LIMITS.durationMaxMs) : null,
    reason: typeof error === 'string' ? error.slice(0, LIMITS.stringChars) : null,
  }
}

/** Whether whoever was called wants the Call once more. */
export const wantsAgain = ({ requeue, delayMs }: Rejection): boolean => requeue ?? delayMs !== null

/** The payload of the response by which whoever made a Call learns of the Error that answers it, whatever protocol it speaks. */
export function errorResponse(body: JsonObject): JsonObject {
  const { requeue: _requeue, delayMs: _delayMs, error, code, ...more } = body
  return {
    ...more,
    type: 'Error',
    error: typeof error === 'string' ? error : 'the Call was answered by an Error without a reason',
    code: typeof code === 'string' ? code : ('CALL_FAILED' satisfies RegistryCode),
  }
}

/** The error and code of such a payload; null of any other. */
export function errorIn(payload: unknown): { readonly error: string; readonly code: string } | null {
  if (typeof payload !== 'object' || payload === null) return null
  const { type, error, code } = payload as JsonObject
  return type === 'Error' && typeof error === 'string' && typeof code === 'string' ? { error, code } : null
}
