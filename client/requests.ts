import type { MessageType } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type { WaitOptions } from './calls.ts'
import type { SendOptions } from './envelope.ts'
import { createPending } from './pending.ts'
import type { Limits, Pending } from './pending.ts'

export interface RequestOptions extends Omit<SendOptions, 'correlationId' | 'receipt'>, WaitOptions {
  /** Default `query`. */
  readonly type?: MessageType
  /** Milliseconds that the query may wait for its receiver. Default `timeoutMs`: nobody works for an asker that has gone on. */
  readonly ttlMs?: number
}

/** A query that waits for its answer. */
export interface Asked {
  /** Settled when nobody waits any more. */
  readonly over: Promise<unknown>
  /** Aborted when nobody waits any more, so that a query that was not written yet is taken back. */
  readonly withdrawn: AbortSignal
  /** The query could not be sent; where it was answered all the same, it was. */
  unasked(error: Error): void
}

/** A request that waits for its reply. */
export interface AskedRequest extends Asked {
  readonly over: Promise<Message>
}

/** Queries without their response, by correlation id. */
export interface Requests {
  readonly size: number
  /** Waits for the reply. */
  expect(correlationId: string, limits: Limits): AskedRequest
  /** Gives a response to the request that waits for it. Answers false where none does. */
  take(message: Message): boolean
  /** Rejects the request that waits with this correlation id. Answers false where none does. */
  refuse(correlationId: string | undefined, error: Error): boolean
  /** Fails all that wait. */
  fail(error: Error): void
}

/** `onChange`: one more or one less waits. */
export function createRequests(onChange: () => void): Requests {
  const asked = new Map<string | undefined, Pending<Message>>()

  return {
    get size() {
      return asked.size
    },
    expect(correlationId, limits) {
      const withdrawal = new AbortController()
      const request = createPending<Message>(limits, 'the request', (error) => {
        asked.delete(correlationId)
        onChange()
        if (error !== undefined) withdrawal.abort(error)
      })
      if (request.open) {
        asked.set(correlationId, request)
        onChange()
      }
      return { over: request.promise, withdrawn: withdrawal.signal, unasked: request.fail }
    },
    take(message) {
      const request = asked.get(message.correlationId)
      request?.resolve(message)
      return request !== undefined
    },
    refuse(correlationId, error) {
      const request = asked.get(correlationId)
      request?.fail(error)
      return request !== undefined
    },
    fail(error) {
      for (const request of asked.values()) request.fail(error)
    },
  }
}
