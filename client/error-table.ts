/** What this side decides: the `name` that browsers have for it, whether the same may succeed later, and what to do. */
export const CLIENT_ERRORS = {
  timeout: ['TimeoutError', true, 'Ask again, or raise timeoutMs.'],
  overflow: ['QuotaExceededError', true, 'Await answers before sending more, or raise the limit.'],
  aborted: ['AbortError', false, 'Nothing: your signal asked for it.'],
  closed: ['AbortError', false, 'Connect again.'],
  connection_lost: ['AbortError', true, 'Try again.'],
  revoked: ['RevokedError', false, 'Stop: another agent may be at it.'],
  peer_gone: ['StreamError', true, 'Ask again.'],
  interrupted: ['StreamError', true, 'Ask again.'],
  cancelled: ['StreamError', false, 'Stop: the reader has enough.'],
  ended: ['StreamError', false, 'Open another stream.'],
  handler_failed: ['StreamError', false, 'Look into what the handler threw.'],
} as const satisfies Readonly<Record<string, readonly [name: string, retryable: boolean, remedy: string]>>

/** The codes of errors that the client itself makes, besides some of the protocol's. */
export type ClientErrorCode = keyof typeof CLIENT_ERRORS
