import type { StreamChunked, StreamEnded } from '../protocol/pushes.ts'
import { abortError, StreamError, timeoutError } from './errors.ts'
import { Feed } from './feed.ts'
import type { ReceivedStream } from './stream.ts'

export interface StreamReaderPort {
  /** Writes to the open connection. */
  write(frame: object): void
  /** No frame is for this reader any more. */
  over(reader: StreamReader): void
}

export interface StreamReaderOptions {
  /** Chunks that may wait for the reader. Default 64. */
  readonly window?: number | undefined
  /** Milliseconds without a chunk, while none waits, after which it fails; null: never. */
  readonly timeoutMs: number | null
  readonly signal?: AbortSignal | undefined
}

/** The receiving end: grants credit as it is read, so that never more than a window of chunks waits here. */
export class StreamReader implements ReceivedStream {
  readonly correlationId: string | null
  /** Resolves when it is over. */
  readonly over: Promise<void>
  readonly #port: StreamReaderPort
  readonly #options: StreamReaderOptions
  readonly #window: number
  readonly #feed: Feed<unknown>
  readonly #withdrawal = new AbortController()
  readonly #aborted = (): void => this.fail(abortError(this.#options.signal as AbortSignal))
  #resolveOver: () => void = () => undefined
  #timer: ReturnType<typeof setTimeout> | null = null
  /** When a chunk came or was read last. */
  #movedAt = Date.now()
  #stream: string | null = null
  #from: string | null = null
  #next = 0
  #read = 0
  #over = false

  constructor(port: StreamReaderPort, correlationId: string | null, options: StreamReaderOptions) {
    this.#port = port
    this.correlationId = correlationId
    this.#options = options
    this.#feed = new Feed<unknown>(
      Infinity,
      (items) => [...items],
      () => this.#finish(null, 'the reader has left'),
    )
    const { signal, timeoutMs, window = 64 } = options
    this.#window = window
    this.over = new Promise((resolve) => (this.#resolveOver = resolve))
    signal?.addEventListener('abort', this.#aborted)
    if (timeoutMs !== null) this.#watch(timeoutMs)
    if (signal?.aborted === true) this.#aborted()
  }

  get from(): string | null {
    return this.#from
  }

  /** Of the hub; null while it is not open. */
  get stream(): string | null {
    return this.#stream
  }

  /** Aborted when the stream is over before it was open: nobody needs to answer any more. */
  get withdrawn(): AbortSignal {
    return this.#withdrawal.signal
  }

  #watch(ms: number): void {
    this.#timer = setTimeout(() => {
      const timeoutMs = this.#options.timeoutMs as number
      const left = this.#feed.size > 0 ? timeoutMs : this.#movedAt + timeoutMs - Date.now()
      if (left > 0) this.#watch(left)
      else this.fail(timeoutError(this.#next === 0 ? 'the request' : 'the stream', timeoutMs))
    }, ms)
  }

  /** A hub has opened it. */
  opened(stream: string, from: string): void {
    this.#stream = stream
    this.#from = from
    this.#grant(this.#window)
  }

  #grant(credit: number): void {
    this.#port.write({ type: 'stream.credit', stream: this.#stream, credit })
  }

  chunk({ seq, payload }: StreamChunked): void {
    if (seq !== this.#next) {
      return this.fail(new StreamError('interrupted', `chunk ${this.#next} did not come`, this.#next - 1))
    }
    this.#next++
    this.#movedAt = Date.now()
    this.#feed.push(payload)
  }

  ended({ error, seq }: StreamEnded): void {
    this.#finish(error && new StreamError(error.code, error.message, seq), null)
  }

  /** A plain reply came in place of a stream: it is the one chunk. */
  replied(from: string, payload: unknown): void {
    this.#from = from
    this.#feed.push(payload)
    this.#finish(null, null)
  }

  /** The query could not be sent; where it was answered all the same, it was. */
  unasked(error: Error): void {
    if (this.#stream === null) this.fail(error)
  }

  /** Breaks it off; what came before is still read. */
  fail(error: Error): void {
    this.#finish(error, error.message)
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    const result = await this.#feed.next()
    if (result.done === true) return result
    this.#movedAt = Date.now()
    // By halves, so that chunks flow while the other half is read.
    if (++this.#read >= this.#window / 2 && !this.#over) {
      this.#grant(this.#read)
      this.#read = 0
    }
    return result
  }

  cancel(reason = 'cancelled'): void {
    this.#finish(null, reason)
    void this.#feed.return()
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    return this.#feed.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel()
  }

  /** @param reason told to the sender; null: it knows */
  #finish(error: Error | null, reason: string | null): void {
    if (this.#over) return
    this.#over = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#options.signal?.removeEventListener('abort', this.#aborted)
    if (this.#stream === null) this.#withdrawal.abort()
    else if (reason !== null) {
      this.#port.write({ type: 'stream.cancel', stream: this.#stream, reason: reason.slice(0, 256) })
    }
    this.#port.over(this)
    this.#resolveOver()
    this.#feed.end(error)
  }
}
