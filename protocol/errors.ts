/** Those after which the very same request may succeed later; error-table.ts, which no client loads, has the rest. */
const RETRYABLE = [
  'name_taken',
  'agent_taken',
  'no_capable_agent',
  'no_leader',
  'inbox_full',
  'quota_exceeded',
  'rate_limited',
  'store_unavailable',
  'draining',
  'internal',
] as const

/** Every error code of the protocol (PROTOCOL.md section 8). */
export type ErrorCode =
  | (typeof RETRYABLE)[number]
  | 'bad_frame'
  | 'unauthorized'
  | 'forbidden'
  | 'invalid_agent'
  | 'invalid_name'
  | 'invalid_capability'
  | 'not_registered'
  | 'unknown_target'
  | 'stale_term'
  | 'seq_too_old'
  | 'payload_too_large'

/** What an `error` frame carries. */
export interface ErrorBody {
  readonly code: ErrorCode
  /** Names the thing, the value and the remedy; for people. */
  readonly message: string
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  /** What to do about errors of this code; for people. Absent where the hub is of an earlier version. */
  readonly remedy?: string
}

export interface MeshErrorOptions {
  /** The value that was wrong, or whatever else helps a program. */
  readonly details?: unknown
  readonly cause?: unknown
  /** Milliseconds after which trying again makes sense. */
  readonly retryAfterMs?: number | null
  /** Default: as its code says, and false for a code that is not the protocol's. */
  readonly retryable?: boolean
  /** What to do about it. */
  readonly remedy?: string
  /** Default `MeshError`. */
  readonly name?: string
}

/** The one error class of hub and client: a code, of the protocol or of the client, and a message with value and remedy. */
export class MeshError extends Error {
  declare readonly name: string
  declare readonly code: ErrorCode | (string & {})
  /** Whether the very same request may succeed later. */
  declare readonly retryable: boolean
  declare readonly retryAfterMs: number | null
  /** What to do about it, in a sentence. */
  declare readonly remedy: string
  declare readonly details: unknown

  constructor(code: ErrorCode | (string & {}), message: string, options: MeshErrorOptions = {}) {
    super(message, options)
    this.name = options.name ?? 'MeshError'
    this.code = code
    this.retryable = options.retryable ?? (RETRYABLE as readonly string[]).includes(code)
    this.retryAfterMs = options.retryAfterMs ?? null
    this.remedy = options.remedy ?? (this.retryable ? 'Try again later.' : 'Change what the message names.')
    this.details = options.details
  }

  /** The error that an `error` frame told, with the code as it came: a later version of the hub may have more of them. */
  static fromBody({ code, message, retryable, retryAfterMs, remedy }: ErrorBody): MeshError {
    return new MeshError(code, message, {
      retryAfterMs,
      ...(typeof retryable === 'boolean' ? { retryable } : {}),
      ...(remedy === undefined ? {} : { remedy }),
    })
  }
}
