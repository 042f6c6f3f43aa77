import type { Message } from '../protocol/pushes.ts'
import { checkFree } from './errors.ts'
import type { Handler, HandlerOptions } from './message.ts'

/** A handler as it was registered. */
export interface Registered {
  readonly handler: Handler
  /** Milliseconds; undefined: as long as it likes. */
  readonly timeoutMs: number | undefined
}

/** The handlers of a client by subject: a message type, the work of a capability, or {@link ALL}. */
export type Handlers = Map<string, Registered>

/** What `setTimeout` can wait, in milliseconds. */
const TIMEOUT_MAX_MS = 2_147_483_647
/** The subject of what no other handler is for. */
const ALL = ''

/** What the work of a capability is called among the subjects; no message type has a space in it. */
export function workOf(capability: string): string {
  return `work ${capability}`
}

/**
 * Answers how to remove it, which answers whether it was still there; `subject` null: all messages that have none of their own.
 * @throws TypeError where there is one already; RangeError for a `timeoutMs` that is none
 */
export function addHandler(
  handlers: Handlers,
  subject: string | null,
  handler: Handler,
  { timeoutMs }: HandlerOptions = {},
): () => boolean {
  const key = subject ?? ALL
  checkFree(handlers.get(key), subject ?? 'all messages')
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) {
    throw new RangeError(`timeoutMs ${timeoutMs} must be from 1 to ${TIMEOUT_MAX_MS}`)
  }
  const registered = { handler, timeoutMs }
  handlers.set(key, registered)
  return () => handlers.get(key) === registered && handlers.delete(key)
}

/** The handler that a message is for; that of its work goes before that of its type. */
export function findHandler(
  handlers: Handlers,
  { via, capability = '', messageType }: Message,
): Registered | undefined {
  const work = via === 'queue' ? handlers.get(workOf(capability)) : undefined
  return work ?? handlers.get(messageType) ?? handlers.get(ALL)
}
