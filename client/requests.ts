import type { MessageType } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type { WaitOptions } from './calls.ts'
import type { SendOptions } from './envelope.ts'
import { abortError, handled, timeoutError } from './errors.ts'
import { randomId } from './ids.ts'

export interface RequestOptions extends Omit<SendOptions, 'correlationId' | 'receipt'>, WaitOptions {
  /** Default `query`. */
  readonly type?: MessageType
  /** Milliseconds that the query may wait for its receiver. Default `timeoutMs`: nobody works for an asker that has gone on. */
  readonly ttlMs?: number
}

interface Waiter {
  readonly resolve: (reply: Message) => void
  readonly reject: (error: Error) => void
}

/** A request that waits for its reply. */
export interface PendingRequest {
  readonly correlationId: string
  readonly reply: Promise<Message>
  /** Aborted when nobody waits any more, so that a query that was not written yet is taken back. */
  readonly signal: AbortSignal
  /** Rejects `reply`; nothing where it is settled. */
  fail(error: Error): void
}

/** Queries without their response, by correlation id. */
export class Requests {
  readonly #waiters = new Map<string, Waiter>()
  readonly #onChange: () => void

  /** `onChange`: one more or one less waits. */
  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  get size(): number {
    return this.#waiters.size
  }

  /** Waits for the reply, at most `timeoutMs` and until `signal` aborts. */
  open(timeoutMs: number, signal?: AbortSignal | null): PendingRequest {
    const correlationId = randomId()
    const withdrawal = new AbortController()
    let fail: (error: Error) => void = () => undefined
    const reply = new Promise<Message>((resolve, reject) => {
      const done = (): boolean => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
        const waited = this.#waiters.delete(correlationId)
        if (waited) this.#onChange()
        return waited
      }
      fail = (error) => {
        if (!done()) return
        reject(error)
        withdrawal.abort(error)
      }
      const aborted = (): void => fail(abortError(signal as AbortSignal))
      const timer = setTimeout(() => fail(timeoutError('the request', timeoutMs)), timeoutMs)
      this.#waiters.set(correlationId, { resolve: (message) => (done(), resolve(message)), reject: fail })
      signal?.addEventListener('abort', aborted)
      if (signal?.aborted === true) aborted()
      else this.#onChange()
    })
    return { correlationId, reply: handled(reply), signal: withdrawal.signal, fail }
  }

  /** Gives a response to the request that waits for it. Answers false where none does. */
  take(message: Message): boolean {
    const waiter = this.#waiters.get(message.correlationId ?? '')
    waiter?.resolve(message)
    return waiter !== undefined
  }

  /** Rejects the request that waits with this correlation id. Answers false where none does. */
  refuse(correlationId: string, error: Error): boolean {
    const waiter = this.#waiters.get(correlationId)
    waiter?.reject(error)
    return waiter !== undefined
  }

  /** Fails all that wait. */
  fail(error: Error): void {
    for (const waiter of [...this.#waiters.values()]) waiter.reject(error)
  }
}
