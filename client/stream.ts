import type { RequestOptions } from './requests.ts'

export interface StreamRequestOptions extends RequestOptions {
  /** Milliseconds until the first chunk, and between two, while none waits to be read. Default `requestTimeoutMs`. */
  readonly timeoutMs?: number
  /** Chunks that may wait here to be read, 1 to 1,000,000; the sender goes on as they are read. Default 64. */
  readonly window?: number
}

/**
 * A stream on its way to this agent, one reader: `for await (const chunk of stream)`. It is done after a complete end only, or
 * when this side leaves it; everything else is thrown, after the chunks that came before. Leaving the loop cancels it.
 */
export interface ReceivedStream<Payload = unknown> extends AsyncIterableIterator<Payload, undefined> {
  /** The sender's agent id; null while nobody has answered. */
  readonly from: string | null
  /** Of the query that it answers; null where it answers none. */
  readonly correlationId: string | null
  /** Ends the stream for both sides; what waits is dropped, and the iterator is done. Repeating it is safe. */
  cancel(reason?: string): void
  /** Like `cancel`. */
  return(): Promise<IteratorResult<Payload, undefined>>
  [Symbol.asyncIterator](): ReceivedStream<Payload>
  [Symbol.asyncDispose](): Promise<void>
}

/** A stream from this agent to another one, as `client.openStream` answers it. */
export interface StreamWriter<Chunk = unknown> {
  /** Aborted when the receiver cancels or is gone; the reason is a `StreamError`. */
  readonly signal: AbortSignal
  /**
   * Writes a chunk, anything with a JSON text. Resolves when the receiver has room for it and it is written: await it, and a
   * slow reader slows this side down. Rejects with the reason of `signal`; MeshError `payload_too_large`, `bad_frame`.
   */
  write(payload: Chunk): Promise<void>
  /** Ends the stream after what was written before. */
  end(): Promise<void>
  /** Breaks the stream off, after what was written before: the receiver's loop throws a `StreamError` with code and message. */
  fail(error: Error): Promise<void>
}

/** Takes a stream that answers no request of this client. Cancelled where it throws. */
export type StreamHandler<Payload = unknown> = (stream: ReceivedStream<Payload>) => unknown
