import type { Message } from '../protocol/pushes.ts'
import type { MessageType, Target } from '../protocol/message.ts'
import type { SendResult } from '../protocol/replies.ts'
import type { RequestOptions } from './requests.ts'

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
export interface ReceivedMessage<
  Payload = unknown,
  Type extends MessageType = MessageType,
  Reply = unknown,
> extends Message<Payload> {
  readonly messageType: Type
  /**
   * Sends a `response` to the sender, with this message's `correlationId` (its `id` if it has none) and `traceparent`.
   * Rejects like `client.send`, and with the signal's reason once the message was taken from this handler.
   */
  reply(payload: Reply, options?: ReplyOptions): Promise<SendResult>
}

/** What a handler may use besides the message. */
export interface HandlerContext {
  /**
   * Aborted when nobody waits for this handler any more: it ran out of its own `timeoutMs` (the reason is a `TimeoutError`), the
   * hub took its message back (`RevokedError`), the reader of what it yields has left (`StreamError`), `close()` ran out of time,
   * or the client ended for good.
   */
  readonly signal: AbortSignal
  /**
   * `client.request`, by which the client knows that it is this handler that waits: until the reply is here, the sender's next
   * message may start. In Node `client.request` knows it as well; elsewhere only until the handler's first `await`.
   */
  request<Payload = unknown>(
    to: Target | string,
    payload: unknown,
    options?: RequestOptions,
  ): Promise<Message<Payload>>
}

/** How a handler is treated. */
export interface HandlerOptions {
  /**
   * Milliseconds that it may take for one message, 1 to 2,147,483,647; then its `signal` is aborted, the message is given back,
   * and what it still does has no effect. By default as long as it likes.
   */
  readonly timeoutMs?: number
}

/**
 * Handles one message. When it returns (or its promise resolves) the message is acknowledged: it is processed. When it throws,
 * the message is given back with the error's message as the reason and comes again later (see `Nack`).
 * The value it returns for a `query`, or another message with a `correlationId` (what `request` sends), is sent as the reply,
 * unless it is undefined or `reply` was called. An async generator, or
 * any async iterable, is sent as a stream instead, as fast as the asker reads (see `client.requestStream`).
 */
export type Handler<Payload = unknown> = (
  message: ReceivedMessage<Payload>,
  context: HandlerContext,
) => unknown

/** Whether it asks for a reply: a `query`, and whatever else names what a reply refers to, replies apart. */
export function isAsked({ messageType, correlationId }: Message): boolean {
  return messageType === 'query' || (correlationId !== undefined && messageType !== 'response')
}

/** Order holds among a sender's direct messages, its responses and its broadcasts, each for itself; a queue's work has none. */
export function lineOf({ id, from, via, messageType }: Message): string {
  if (via === 'queue') return id
  return `${from}\n${messageType === 'response' ? 'response' : via === 'direct' ? 'direct' : 'broadcast'}`
}
