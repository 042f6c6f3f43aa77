import type { FastifyReply } from 'fastify'
import { ERRORS } from '../../../../protocol/error-table.ts'
import type { ErrorCode } from '../../../../protocol/errors.ts'
import { MeshError } from '../../../../protocol/errors.ts'

/** Errors of HTTP itself; `bad_frame` of the protocol is told as one of these, since there are no frames here. */
const HTTP_ERRORS = {
  bad_request: { status: 400, remedy: 'Correct what the message names.' },
  not_found: { status: 404, remedy: 'See /api/v1/openapi.json for what there is.' },
  method_not_allowed: { status: 405, remedy: 'Use a method that the header Allow names.' },
  unsupported_media_type: { status: 415, remedy: 'Send JSON, with Content-Type: application/json.' },
  invalid_body: { status: 422, remedy: 'Correct the value that the message names.' },
} as const

/** Statuses of the protocol's errors. */
const STATUS = {
  bad_frame: 400,
  unauthorized: 401,
  forbidden: 403,
  unknown_target: 404,
  not_registered: 404,
  agent_taken: 409,
  name_taken: 409,
  no_capable_agent: 409,
  no_leader: 409,
  stale_term: 409,
  seq_too_old: 409,
  payload_too_large: 413,
  invalid_agent: 422,
  invalid_name: 422,
  invalid_capability: 422,
  inbox_full: 429,
  quota_exceeded: 429,
  rate_limited: 429,
  store_unavailable: 503,
  draining: 503,
  internal: 500,
} as const satisfies Readonly<Record<ErrorCode, number>>

/** Where what the protocol says of an error is for who has a connection. */
const REMEDIES: Readonly<Record<string, string>> = {
  unauthorized: 'Send a token that this hub accepts, in the header Authorization.',
  forbidden: 'Ask with a token that permits it.',
  agent_taken: 'Send from an id that no agent has.',
  store_unavailable: 'Ask again later; what was to be sent or changed may have been.',
  draining: 'Ask another hub.',
}

export type ApiErrorCode = keyof typeof HTTP_ERRORS | Exclude<ErrorCode, 'bad_frame'>

const isHttp = (code: string): code is keyof typeof HTTP_ERRORS => Object.hasOwn(HTTP_ERRORS, code)
const isProtocol = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code)

export const statusOf = (code: ApiErrorCode): number =>
  isHttp(code) ? HTTP_ERRORS[code].status : STATUS[code]

/** An answer that tells an error. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: {
    readonly error: {
      readonly code: string
      readonly message: string
      readonly remedy: string
      readonly retryable: boolean
    }
  }
}

/** Fastify's own errors that are the request's fault. */
const FASTIFY: Readonly<Record<string, { code: ApiErrorCode; message: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'payload_too_large',
    message: 'the body is larger than this hub takes',
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    message: 'the body is not declared as JSON',
  },
}

/** The error as it is told, or null where it is a fault of this hub. */
function explain(error: unknown): MeshError | null {
  if (error instanceof MeshError) return error
  const { code, statusCode, message } = error as { code?: unknown; statusCode?: unknown; message?: unknown }
  const known = FASTIFY[String(code)]
  if (known) return new MeshError(known.code, known.message)
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return null
  return new MeshError('bad_request', String(message))
}

/**
 * @param hasBody what is wrong with the values of a request is 422 where they come in its body, else 400
 * @param onFault told of what is no fault of the request
 */
export function errorAnswer(
  error: unknown,
  hasBody: boolean,
  onFault: (error: unknown) => void,
): ErrorAnswer {
  let known = explain(error)
  if (known === null || (known.code === 'internal' && known.cause !== undefined)) {
    onFault(error)
    known = new MeshError('internal', 'the hub failed at this request; try again')
  }
  const { message, retryAfterMs } = known
  const valueError = hasBody ? 'invalid_body' : 'bad_request'
  const code = known.code === 'bad_frame' ? valueError : known.code
  let status: number
  let remedy: string
  let retryable: boolean
  if (isHttp(code)) {
    ;({ status, remedy } = HTTP_ERRORS[code])
    retryable = false
  } else {
    const ours = isProtocol(code) ? code : 'internal'
    // One that says when to come back is no fault: the keys of tokens cannot be had.
    status = ours === 'internal' && retryAfterMs !== null ? 503 : STATUS[ours]
    remedy = REMEDIES[ours] ?? ERRORS[ours].remedy
    ;({ retryable } = known)
  }
  const headers: Record<string, string> = {}
  if (status === 503 || status === 429)
    headers['retry-after'] = String(Math.max(1, Math.ceil((retryAfterMs ?? 1_000) / 1_000)))
  if (status === 401) headers['www-authenticate'] = 'Bearer'
  return { status, headers, body: { error: { code, message, remedy, retryable } } }
}

export const sendError = (reply: FastifyReply, { status, headers, body }: ErrorAnswer): FastifyReply =>
  reply.code(status).headers(headers).send(body)
