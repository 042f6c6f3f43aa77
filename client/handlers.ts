import type { Message } from '../protocol/pushes.ts'
import type { Handler, HandlerOptions } from './message.ts'

/** A handler as it was registered. */
export interface Registered {
  readonly handler: Handler
  /** Milliseconds; undefined: as long as it likes. */
  readonly timeoutMs: number | undefined
}

/** What `setTimeout` can wait, in milliseconds. */
const TIMEOUT_MAX_MS = 2_147_483_647
const ALL = ''

/** What the work of a capability is called among the subjects; no message type has a space in it. */
export function workOf(capability: string): string {
  return `work ${capability}`
}

/** The handlers of a client by subject: a message type, the work of a capability, or null, what no other one is for. */
export class Handlers {
  readonly #registered = new Map<string, Registered>()

  get size(): number {
    return this.#registered.size
  }

  has(subject: string): boolean {
    return this.#registered.has(subject)
  }

  /**
   * Answers how to remove it, which answers whether it was still there.
   * @throws TypeError where there is one already; RangeError for a `timeoutMs` that is none
   */
  add(subject: string | null, handler: Handler, { timeoutMs }: HandlerOptions): () => boolean {
    const key = subject ?? ALL
    if (this.#registered.has(key)) {
      throw new TypeError(`there is a handler for ${subject ?? 'all messages'} already; remove it first`)
    }
    if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) {
      throw new RangeError(`timeoutMs ${timeoutMs} must be from 1 to ${TIMEOUT_MAX_MS}`)
    }
    const registered = { handler, timeoutMs }
    this.#registered.set(key, registered)
    return () => this.#registered.get(key) === registered && this.#registered.delete(key)
  }

  find({ via, capability = '', messageType }: Message): Registered | undefined {
    const work = via === 'queue' ? this.#registered.get(workOf(capability)) : undefined
    return work ?? this.#registered.get(messageType) ?? this.#registered.get(ALL)
  }
}
