import type { ErrorCode } from '../protocol/errors.ts'
import { MeshError } from '../protocol/errors.ts'
import { CLIENT_ERRORS } from './error-table.ts'
import type { ClientErrorCode } from './error-table.ts'

export { CLIENT_ERRORS } from './error-table.ts'

function own(code: ClientErrorCode, message: string, details?: unknown): MeshError {
  const [name, retryable, remedy] = CLIENT_ERRORS[code]
  return new MeshError(code, message, { name, retryable, remedy, details })
}

/** What each close code means (PROTOCOL.md section 8), and what to do where that is more than its error code says. */
const CLOSE_ERRORS: Readonly<Record<number, readonly [code: ErrorCode, remedy?: string]>> = {
  1000: ['not_registered'],
  1009: ['payload_too_large'],
  4001: ['draining'],
  4003: ['unauthorized'],
  4004: ['store_unavailable'],
  4400: ['bad_frame'],
  4401: ['unauthorized', 'Give another token as options.token.'],
  4403: ['forbidden'],
  4408: ['bad_frame'],
  4409: ['agent_taken', 'Give this client an id and a name of its own.'],
  4410: ['not_registered'],
}

/** The error behind a close code; `reason` is its name, or what a platform says. What says nothing of its own becomes `internal`. */
export function closeError(code: number, reason: string): MeshError {
  const [errorCode, remedy] = CLOSE_ERRORS[code] ?? ['internal']
  const message = `the connection was closed: ${reason || errorCode} (close code ${code})`
  return new MeshError(errorCode, message, { details: code, ...(remedy && { remedy }) })
}

/** The error of what was cancelled by its `signal`: the signal's own reason where that is an error. */
export function abortError({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : own('aborted', String(reason), reason)
}

/** Of what was not answered within `timeoutMs`. */
export function timeoutError(what: string, timeoutMs: number): MeshError {
  return own('timeout', `${what} was not answered within ${timeoutMs} ms`)
}

/** Of a handler that took longer than its `timeoutMs`. */
export function handlerTimeoutError(timeoutMs: number): MeshError {
  return own('timeout', `handler timed out after ${timeoutMs} ms`)
}

/** The hub has taken a message away from its handler. */
export function revokedError(reason: string): MeshError {
  return own('revoked', `the hub has revoked the message: ${reason}`)
}

/** Of what `close()` left undone. */
export function closedError(what: string): MeshError {
  return own('closed', `${what}: the client is closed`)
}

/** Of what can't be asked again on another connection. */
export function lostError(): MeshError {
  return own('connection_lost', 'the connection was lost before the answer')
}

/** As much waits for the hub as the options allow: `count` of what the option of that name limits. */
export function overflowError(count: number, what: string, option: string): MeshError {
  return own('overflow', `${count} ${what} wait for the hub (${option})`)
}

/** What was given is against a rule. */
export function badFrame(message: string, details?: unknown): MeshError {
  return new MeshError('bad_frame', message, { details })
}

/** @throws MeshError `bad_frame` where `value` is given and no integer from 1 to `max` */
export function checkInteger(name: string, value: number | undefined, max: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= max)) {
    throw badFrame(`${name} ${value} must be an integer from 1 to ${max}`, value)
  }
}

/** @throws TypeError where what was registered `before` for something is still there */
export function checkFree(before: unknown, what: string): void {
  if (before) throw new TypeError(`there is a handler for ${what} already; remove it first`)
}

/** What user code threw, as an error with a text; never throws itself. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error && typeof thrown.message === 'string') return thrown
  try {
    return new Error(String(thrown instanceof Error ? thrown.message : thrown), { cause: thrown })
  } catch {
    return new Error('something without a text was thrown', { cause: thrown })
  }
}

/** A rejection that nobody looks at must not end the process; whoever looks at `promise` still gets it. */
export function handled<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => undefined)
  return promise
}
