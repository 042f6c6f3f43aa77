import type { Message } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'

/** How a reply is sent. */
export interface ReplyOptions {
  /** Milliseconds it may wait for its receiver; by default without end. */
  readonly ttlMs?: number
  /** Default `stored`. */
  readonly durability?: 'stored' | 'transient'
  /** Takes the reply back while it is not written yet, and stops waiting for the answer. */
  readonly signal?: AbortSignal
}

/** A message as a handler gets it. */
export interface ReceivedMessage<Payload = unknown> extends Message<Payload> {
  /**
   * Sends a `response` to the sender, with this message's `correlationId` (its `id` if it has none) and `traceparent`.
   * Rejects like `client.send`.
   */
  reply(payload: unknown, options?: ReplyOptions): Promise<SendResult>
}

/** What a handler may use besides the message. */
export interface HandlerContext {
  /**
   * Aborted when nobody waits for this handler any more: `close()` ran out of time, the client ended for good, or the reader of
   * what it yields has left (the reason is a `StreamError` then).
   */
  readonly signal: AbortSignal
}

/**
 * Handles one message. When it returns (or its promise resolves) the message is acknowledged: it is processed. When it throws,
 * the message is given back with the error's message as the reason and comes again later (see `Nack`).
 * The value it returns for a `query` is sent as the reply, unless it is undefined or `reply` was called. An async generator, or
 * any async iterable, is sent as a stream instead, as fast as the asker reads (see `client.requestStream`).
 */
export type Handler<Payload = unknown> = (
  message: ReceivedMessage<Payload>,
  context: HandlerContext,
) => unknown
