/**
 * Every error code of the protocol (PROTOCOL.md section 8). `retryable`: the very same request may succeed later.
 * `sentence` is the description used in the documentation; a thrown error names the value and the remedy as well.
 */
export const ERRORS = {
  bad_frame: { retryable: false, sentence: 'The frame has a wrong shape or a value against a rule.' },
  unauthorized: { retryable: false, sentence: 'The token is missing or not accepted.' },
  forbidden: { retryable: false, sentence: 'This connection may not do that.' },
  invalid_agent: { retryable: false, sentence: 'A field of the agent is against its rule.' },
  invalid_name: { retryable: false, sentence: 'The agent name is against its rule.' },
  invalid_capability: { retryable: false, sentence: 'The capabilities are against their rule.' },
  name_taken: { retryable: true, sentence: 'An agent that is not offline has this name.' },
  agent_taken: { retryable: true, sentence: 'Another live session holds this agent id.' },
  not_registered: { retryable: false, sentence: 'The agent is not registered any more.' },
  unknown_target: { retryable: false, sentence: 'No registered agent has this id or name.' },
  no_capable_agent: { retryable: true, sentence: 'No registered agent has this capability.' },
  no_leader: { retryable: true, sentence: 'The namespace has no leader now.' },
  stale_term: { retryable: false, sentence: 'The sender is not the leader of this term.' },
  seq_too_old: { retryable: false, sentence: 'The seq is too far behind for its answer to be known.' },
  inbox_full: { retryable: true, sentence: 'The inbox of the recipient has no room.' },
  payload_too_large: { retryable: false, sentence: 'The payload is larger than limits.maxPayloadBytes.' },
  rate_limited: { retryable: true, sentence: 'Too many requests (HTTP only).' },
  store_unavailable: { retryable: true, sentence: 'The store does not answer; nothing was stored.' },
  draining: { retryable: true, sentence: 'This hub is shutting down; connect to another one.' },
  internal: { retryable: true, sentence: 'The hub failed at this request.' },
} as const

export type ErrorCode = keyof typeof ERRORS

/** A column of {@link ERRORS}, all that a client needs of it; the compiler compares the two. */
const RETRYABLE: { readonly [Code in ErrorCode]: (typeof ERRORS)[Code]['retryable'] } = {
  bad_frame: false,
  unauthorized: false,
  forbidden: false,
  invalid_agent: false,
  invalid_name: false,
  invalid_capability: false,
  name_taken: true,
  agent_taken: true,
  not_registered: false,
  unknown_target: false,
  no_capable_agent: true,
  no_leader: true,
  stale_term: false,
  seq_too_old: false,
  inbox_full: true,
  payload_too_large: false,
  rate_limited: true,
  store_unavailable: true,
  draining: true,
  internal: true,
}

/** What an `error` frame carries. */
export interface ErrorBody {
  readonly code: ErrorCode
  /** Names the thing, the value and the remedy; for people. */
  readonly message: string
  readonly retryable: boolean
  readonly retryAfterMs: number | null
}

export interface MeshErrorOptions {
  /** The value that was wrong, or whatever else helps a program. */
  readonly details?: unknown
  readonly cause?: unknown
  /** Milliseconds after which trying again makes sense. */
  readonly retryAfterMs?: number | null
}

/** The one error class of hub and client: a code of {@link ERRORS} and a message with value and remedy. */
export class MeshError extends Error {
  override readonly name = 'MeshError'
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  readonly details: unknown

  constructor(code: ErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = RETRYABLE[code]
    this.retryAfterMs = options.retryAfterMs ?? null
    this.details = options.details
  }

  /** The error that an `error` frame told; a code this version does not know becomes `internal`. */
  static fromBody(body: ErrorBody): MeshError {
    const code = Object.hasOwn(RETRYABLE, body.code) ? body.code : 'internal'
    return new MeshError(code, body.message, { retryAfterMs: body.retryAfterMs ?? null })
  }
}

/** The body of the `error` frame that tells this error. */
export function toBody({ code, message, retryable, retryAfterMs }: MeshError): ErrorBody {
  return { code, message, retryable, retryAfterMs }
}
