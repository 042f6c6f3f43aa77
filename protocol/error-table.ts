import type { ErrorBody, ErrorCode, MeshError } from './errors.ts'

interface ErrorEntry {
  /** The very same request may succeed later. */
  readonly retryable: boolean
  /** The description used in the documentation; a thrown error names the value and the remedy as well. */
  readonly sentence: string
  /** What to do about it; travels in the error's body. */
  readonly remedy: string
}

/** Every error code of the protocol (PROTOCOL.md section 8). For hubs: a client is told what it needs of it. */
export const ERRORS = {
  bad_frame: {
    retryable: false,
    sentence: 'The frame has a wrong shape or a value against a rule.',
    remedy: 'Correct the value that the message names.',
  },
  unauthorized: {
    retryable: false,
    sentence: 'The token is missing or not accepted.',
    remedy: 'Give a token that this hub accepts.',
  },
  forbidden: {
    retryable: false,
    sentence: 'This connection may not do that.',
    remedy: 'Connect as somebody who may.',
  },
  invalid_agent: {
    retryable: false,
    sentence: 'A field of the agent is against its rule.',
    remedy: 'Correct the field that the message names.',
  },
  invalid_name: {
    retryable: false,
    sentence: 'The agent name is against its rule.',
    remedy: 'Choose a name of 3 to 64 of A-Z a-z 0-9 _ -.',
  },
  invalid_capability: {
    retryable: false,
    sentence: 'The capabilities are against their rule.',
    remedy: 'Give 1 to 20 capabilities, each 2 to 32 of a-z 0-9 -.',
  },
  name_taken: {
    retryable: true,
    sentence: 'An agent that is not offline has this name.',
    remedy: 'Choose another name, or wait until that agent is gone.',
  },
  agent_taken: {
    retryable: true,
    sentence: 'Another live session holds this agent id.',
    remedy: 'Give each agent an id of its own, or wait until that session is over.',
  },
  not_registered: {
    retryable: false,
    sentence: 'The agent is not registered any more.',
    remedy: 'Say hello on a new connection.',
  },
  unknown_target: {
    retryable: false,
    sentence: 'No registered agent has this id or name.',
    remedy: 'Discover who is there, and send to one of them.',
  },
  no_capable_agent: {
    retryable: true,
    sentence: 'No registered agent has this capability.',
    remedy: 'Start an agent with it, or let the mesh keep the work until one comes.',
  },
  no_leader: {
    retryable: true,
    sentence: 'The namespace has no leader now.',
    remedy: 'Send again when one is elected.',
  },
  stale_term: {
    retryable: false,
    sentence: 'The sender is not the leader of this term.',
    remedy: 'Ask who leads and in which term; stop acting as the leader where it is another.',
  },
  seq_too_old: {
    retryable: false,
    sentence: 'The seq is too far behind for its answer to be known.',
    remedy: 'Go on under a new producer.',
  },
  inbox_full: {
    retryable: true,
    sentence: 'The inbox of the recipient has no room.',
    remedy: 'Send again later, and less.',
  },
  quota_exceeded: {
    retryable: true,
    sentence: 'The namespace has as many agents, or as many bytes in its inboxes, as it may.',
    remedy: 'Try again later; unregister agents that do not come back, and see that inboxes are read.',
  },
  payload_too_large: {
    retryable: false,
    sentence: 'The payload is larger than limits.maxPayloadBytes.',
    remedy: 'Send less at once, or a reference to where it is kept.',
  },
  rate_limited: {
    retryable: true,
    sentence: 'Too many requests (HTTP only).',
    remedy: 'Wait for the time that the answer names.',
  },
  store_unavailable: {
    retryable: true,
    sentence: 'The store does not answer; nothing was stored.',
    remedy: 'Send again later, under the same seq.',
  },
  draining: {
    retryable: true,
    sentence: 'This hub is shutting down; connect to another one.',
    remedy: 'Connect to another hub.',
  },
  internal: {
    retryable: true,
    sentence: 'The hub failed at this request.',
    remedy: 'Try again; if it happens again, look into the log of the hub.',
  },
} as const satisfies Readonly<Record<ErrorCode, ErrorEntry>>

const isCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code)

/** The body of the `error` frame that tells an error; a code that is not the protocol's becomes `internal`. */
export function errorBody(error: MeshError): ErrorBody {
  const code = isCode(error.code) ? error.code : 'internal'
  const { retryable, remedy } = ERRORS[code]
  return { code, message: error.message, retryable, retryAfterMs: error.retryAfterMs, remedy }
}
