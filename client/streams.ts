import { MeshError } from '../protocol/errors.ts'
import { LIMITS } from '../protocol/limits.ts'
import type {
  Message,
  StreamCancelled,
  StreamChunked,
  StreamCredited,
  StreamEnded,
  StreamOpened,
} from '../protocol/pushes.ts'
import type { ErrorReply, Ok } from '../protocol/replies.ts'
import type { Asked } from './calls.ts'
import { closedError, StreamError, toError } from './errors.ts'
import type { HandlerRun } from './handler-run.ts'
import { Nack } from './nack.ts'
import type { Incident } from './status.ts'
import type { StreamHandler } from './stream.ts'
import { StreamReader } from './stream-reader.ts'
import type { StreamReaderOptions } from './stream-reader.ts'
import { Outgoing } from './stream-writer.ts'
import { leave, stream } from './streamed-answer.ts'

export interface StreamsPort {
  /** Writes to the open connection; without one, nowhere. */
  write(line: string): void
  /** Asks on this connection only. */
  ask(command: Asked, settle: (reply: Ok | ErrorReply) => void, fail: (error: Error) => void): void
  /** Rejects the request with that correlation id. Answers false where there is none. */
  refuse(correlationId: string, error: Error): boolean
  /** One more or one less answer is waited for. */
  changed(): void
  emit(incident: Incident): void
  /** Bytes of JSON that the hub takes in one chunk. */
  maxPayloadBytes(): number
}

type StreamFrame = StreamOpened | StreamCredited | StreamChunked | StreamEnded | StreamCancelled

/** The streams of a client, in both directions, and the requests that a stream will answer. None outlives its connection. */
export class Streams {
  readonly #port: StreamsPort
  /** Those asked for, by correlation id: until they are over. */
  readonly #asked = new Map<string, StreamReader>()
  readonly #readers = new Map<string, StreamReader>()
  readonly #writers = new Map<string, Outgoing>()
  #handler: StreamHandler | null = null
  #next = 1

  constructor(port: StreamsPort) {
    this.#port = port
  }

  /** Answers that are waited for or come in. */
  get waiting(): number {
    return this.#asked.size
  }

  /**
   * A reader for the answer to the request with that correlation id.
   * @throws MeshError `bad_frame` for a `window` that is none
   */
  expect(correlationId: string, options: StreamReaderOptions): StreamReader {
    const { window = 1 } = options
    if (!(Number.isInteger(window) && window >= 1 && window <= LIMITS.streamCreditMax)) {
      throw new MeshError(
        'bad_frame',
        `window ${window} must be an integer from 1 to ${LIMITS.streamCreditMax}`,
      )
    }
    const reader = this.#reader(correlationId, options)
    if (!reader.withdrawn.aborted) this.#asked.set(correlationId, reader)
    this.#port.changed()
    return reader
  }

  #reader(correlationId: string | null, options: StreamReaderOptions): StreamReader {
    const port = {
      write: (frame: object) => this.#write(frame),
      over: (reader: StreamReader) => {
        if (reader.stream !== null) this.#readers.delete(reader.stream)
        if (this.#asked.delete(reader.correlationId ?? '')) this.#port.changed()
      },
    }
    return new StreamReader(port, correlationId, options)
  }

  #write(frame: object): void {
    this.#port.write(JSON.stringify(frame))
  }

  /** A plain reply to what was to be answered by a stream. Answers false where it is none. */
  take({ correlationId = '', from, payload }: Message): boolean {
    const reader = this.#asked.get(correlationId)
    if (reader === undefined || reader.stream !== null) return false
    reader.replied(from, payload)
    return true
  }

  /** Sets who takes the streams that answer nothing. Answers how to remove it. @throws TypeError where there is one already */
  handle(handler: StreamHandler): () => void {
    if (this.#handler !== null) throw new TypeError('there is a handler for streams already; remove it first')
    this.#handler = handler
    return () => {
      if (this.#handler === handler) this.#handler = null
    }
  }

  /** Opens a stream. @throws MeshError as the hub says; `connection_lost` */
  open(agent: string, correlationId?: string): Promise<Outgoing> {
    const id = `s${this.#next++}`
    return new Promise((resolve, reject) => {
      this.#port.ask(
        { type: 'stream.open', stream: id, to: { agent }, correlationId },
        (reply) => {
          if (reply.type === 'error') return reject(MeshError.fromBody(reply.error))
          const port = this.#port
          const writer = new Outgoing(
            {
              write: (line) => port.write(line),
              over: () => this.#writers.delete(id),
              maxPayloadBytes: port.maxPayloadBytes(),
            },
            id,
          )
          this.#writers.set(id, writer)
          resolve(writer)
        },
        reject,
      )
    })
  }

  /**
   * Answers a query with what its handler yields; the run is told why nobody wants more, and its end breaks the stream off.
   * Resolves when the query is processed.
   * @throws what gives the query back
   */
  async answer(
    message: Message,
    values: AsyncIterable<unknown>,
    run: Pick<HandlerRun, 'abort' | 'signal'>,
  ): Promise<void> {
    const iterator = values[Symbol.asyncIterator]()
    let writer: Outgoing | null = null
    try {
      writer = await this.open(message.from, message.correlationId ?? message.id)
      const { signal } = writer
      const end = (): void => writer?.breakOff(run.signal.reason as Error)
      const aborted = (): void => run.abort(signal.reason as Error)
      // The receiver's answer may have come with that of the hub.
      if (signal.aborted) aborted()
      else signal.addEventListener('abort', aborted)
      if (run.signal.aborted) end()
      else run.signal.addEventListener('abort', end)
      await stream(iterator, writer)
    } catch (cause) {
      const error = toError(cause)
      if (writer === null) {
        run.abort(error)
        await leave(iterator)
      }
      const isTold = writer !== null || (error instanceof MeshError && error.code === 'unknown_target')
      if (error instanceof Nack || !isTold) throw error
      // The asker knows, or is gone: working it out again would help nobody.
      this.#port.emit({ type: 'handler_failed', message, error })
    }
  }

  frame(frame: StreamFrame): void {
    switch (frame.type) {
      case 'stream.open':
        return this.#opened(frame)
      case 'stream.chunk':
        return this.#readers.get(frame.stream)?.chunk(frame)
      case 'stream.credit':
        return this.#writers.get(frame.stream)?.credited(frame.credit)
      case 'stream.cancel': {
        const message = frame.reason ?? 'the receiver wants no more'
        return this.#writers.get(frame.stream)?.stopped(new StreamError('cancelled', message))
      }
      case 'stream.end': {
        this.#readers.get(frame.stream)?.ended(frame)
        const { error, seq = null } = frame
        if (error === null) return
        return this.#writers.get(frame.stream)?.stopped(new StreamError(error.code, error.message, seq))
      }
    }
  }

  #opened({ stream: id, from, correlationId }: StreamOpened): void {
    let reader = this.#asked.get(correlationId ?? '')
    const handler = reader === undefined ? this.#handler : null
    const isOther = reader !== undefined && reader.stream !== null
    const refuse = (reason: string): void => this.#write({ type: 'stream.cancel', stream: id, reason })
    if (reader === undefined) {
      const misuse = new TypeError('the answer is a stream: ask by requestStream')
      if (this.#port.refuse(correlationId ?? '', misuse)) return refuse(misuse.message)
      if (handler !== null) reader = this.#reader(correlationId ?? null, { timeoutMs: null })
    }
    if (reader === undefined || isOther) return refuse('nobody waits for this stream')
    this.#readers.set(id, reader)
    reader.opened(id, from)
    if (handler !== null) void this.#hand(handler, reader)
  }

  async #hand(handler: StreamHandler, reader: StreamReader): Promise<void> {
    try {
      await handler(reader)
    } catch (error) {
      const failure = toError(error)
      reader.fail(failure)
      this.#port.emit({ type: 'stream_failed', from: reader.from, error: failure })
    }
  }

  /** The connection is gone, and every open stream with it. */
  lost(closing: boolean): void {
    const gone = new StreamError('peer_gone', 'the connection to the hub was lost')
    for (const reader of [...this.#readers.values()]) reader.fail(closing ? closedError('the stream') : gone)
    for (const writer of [...this.#writers.values()]) writer.stopped(gone)
  }

  /** Fails all that are still waited for. */
  fail(error: Error): void {
    for (const reader of [...this.#asked.values()]) reader.fail(error)
  }
}
