import type { StreamChunked, StreamEnded } from '../protocol/pushes.ts'
import { timeoutError } from './errors.ts'
import { StreamError } from './stream-error.ts'
import { createFeed } from './feed.ts'
import { createPending } from './pending.ts'
import type { Asked } from './requests.ts'
import type { ReceivedStream } from './stream.ts'

export interface StreamReaderPort {
  /** Writes to the open connection. */
  write(frame: object): void
  /** No frame is for this reader any more; `stream`: the hub's id of it, null where it was never open. */
  over(stream: string | null): void
}

export interface StreamReaderOptions {
  /** Chunks that may wait for the reader. Default 64. */
  readonly window?: number | undefined
  /** Milliseconds without a chunk, while none waits, after which it fails; null: never. */
  readonly timeoutMs: number | null
  readonly signal?: AbortSignal | undefined
}

/** The receiving end: grants credit as it is read, so that never more than a window of chunks waits here. */
export interface StreamReader extends ReceivedStream, Asked {
  /** Of the hub; null while it is not open. */
  readonly stream: string | null
  /** A hub has opened it. */
  opened(stream: string, from: string): void
  chunk(frame: StreamChunked): void
  ended(frame: StreamEnded): void
  /** A plain reply came in place of a stream: it is the one chunk. */
  replied(from: string, payload: unknown): void
  /** Breaks it off; what came before is still read. */
  fail(error: Error): void
}

export function createStreamReader(
  port: StreamReaderPort,
  correlationId: string | null,
  { window = 64, timeoutMs, signal }: StreamReaderOptions,
): StreamReader {
  const withdrawal = new AbortController()
  const feed = createFeed<unknown>(Infinity, () => over.resolve('the reader has left'))
  let stream: string | null = null
  let from: string | null = null
  let next = 0
  let read = 0
  /** When a chunk came or was read last. */
  let movedAt = Date.now()
  let timer: ReturnType<typeof setTimeout> | undefined

  /** Its result is told to the sender as the reason why it is over; null: it knows. */
  const over = createPending<string | null>({ signal }, '', (error, reason = error?.message ?? null) => {
    clearTimeout(timer)
    if (stream === null) withdrawal.abort()
    else if (reason !== null) port.write({ type: 'stream.cancel', stream, reason: reason.slice(0, 256) })
    port.over(stream)
    feed.end(error)
  })

  function watch(limitMs: number, waitMs = limitMs): void {
    timer = setTimeout(() => {
      const leftMs = feed.size > 0 ? limitMs : movedAt + limitMs - Date.now()
      if (leftMs > 0) watch(limitMs, leftMs)
      else over.fail(timeoutError(next === 0 ? 'the request' : 'the stream', limitMs))
    }, waitMs)
  }

  function grant(credit: number): void {
    port.write({ type: 'stream.credit', stream, credit })
  }

  if (timeoutMs !== null && over.open) watch(timeoutMs)
  return {
    correlationId,
    over: over.promise,
    withdrawn: withdrawal.signal,
    get from() {
      return from
    },
    get stream() {
      return stream
    },
    opened(id, sender) {
      stream = id
      from = sender
      grant(window)
    },
    chunk({ seq, payload }) {
      if (seq !== next) {
        return over.fail(new StreamError('interrupted', `chunk ${next} did not come`, next - 1))
      }
      next++
      movedAt = Date.now()
      feed.push(payload)
    },
    ended({ error, seq }) {
      feed.end(error && new StreamError(error.code, error.message, seq))
      over.resolve(null)
    },
    replied(sender, payload) {
      from = sender
      feed.push(payload)
      over.resolve(null)
    },
    unasked(error) {
      if (stream === null) over.fail(error)
    },
    fail: over.fail,
    async next() {
      const step = await feed.next()
      if (step.done === true) return step
      movedAt = Date.now()
      // By halves, so that chunks flow while the other half is read.
      if (++read >= window / 2 && over.open) {
        grant(read)
        read = 0
      }
      return step
    },
    cancel(reason = 'cancelled') {
      over.resolve(reason)
      void feed.return()
    },
    return: feed.return,
    [Symbol.asyncIterator]() {
      return this
    },
    async [Symbol.asyncDispose]() {
      this.cancel()
    },
  }
}
