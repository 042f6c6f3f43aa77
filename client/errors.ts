import type { ErrorCode } from '../protocol/errors.ts'
import { MeshError } from '../protocol/errors.ts'

const CLOSE_ERRORS: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  1000: ['not_registered', 'the hub ended this session'],
  1009: ['payload_too_large', 'the hub refused a WebSocket message as too large'],
  4003: ['unauthorized', 'the token has expired'],
  4004: ['store_unavailable', "the hub's store did not answer for too long"],
  4001: ['draining', 'the hub is shutting down'],
  4400: ['bad_frame', 'the hub does not accept what this client sends'],
  4401: ['unauthorized', 'the token is missing or not accepted; give another one as options.token'],
  4403: ['forbidden', 'this client may not connect here'],
  4408: ['bad_frame', 'the hub got no hello in time'],
  4409: ['agent_taken', 'another session took this agent over; give this client an id and a name of its own'],
  4410: ['not_registered', 'an operator unregistered this agent'],
}

/** The error behind a close code (PROTOCOL.md section 8); codes that say nothing of their own become `internal`. */
export function closeError(code: number, reason: string): MeshError {
  const [errorCode, sentence] = CLOSE_ERRORS[code] ?? ['internal', 'the connection was lost']
  return new MeshError(errorCode, `${sentence} (close code ${code}${reason === '' ? '' : `, ${reason}`})`, {
    details: code,
  })
}

/** The error of what was cancelled by its `signal`: the signal's own reason where that is an error. */
export function abortError(signal: AbortSignal): Error {
  const reason: unknown = signal.reason
  return reason instanceof Error ? reason : new DOMException(String(reason), 'AbortError')
}

/** `TimeoutError`, by name, of what was not answered within `timeoutMs`. */
export function timeoutError(what: string, timeoutMs: number): DOMException {
  return new DOMException(`${what} was not answered within ${timeoutMs} ms`, 'TimeoutError')
}

/** `TimeoutError`, by name, of a handler that took longer than its `timeoutMs`. */
export function handlerTimeoutError(timeoutMs: number): DOMException {
  return new DOMException(`handler timed out after ${timeoutMs} ms`, 'TimeoutError')
}

/** `RevokedError`, by name: the hub has taken a message away from its handler. */
export function revokedError(reason: string): DOMException {
  return new DOMException(`the hub has revoked the message: ${reason}`, 'RevokedError')
}

/** `AbortError`, by name, of what `close()` left undone. */
export function closedError(what: string): DOMException {
  return new DOMException(`${what}: the client is closed`, 'AbortError')
}

/** `QuotaExceededError`, by name: as much waits for the hub as the options allow. */
export function overflowError(what: string): DOMException {
  return new DOMException(`${what}; wait for answers, or raise the limit`, 'QuotaExceededError')
}

/** A rejection that nobody looks at must not end the process; whoever looks at `promise` still gets it. */
export function handled<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => undefined)
  return promise
}

/** What was thrown, as an error. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
