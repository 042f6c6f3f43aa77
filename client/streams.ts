import { MeshError } from '../protocol/errors.ts'
import * as LIMITS from '../protocol/limit-values.ts'
import type {
  Message,
  StreamCancelled,
  StreamChunked,
  StreamCredited,
  StreamEnded,
  StreamOpened,
} from '../protocol/pushes.ts'
import type { Calls } from './calls.ts'
import { checkFree, checkInteger, closedError, toError } from './errors.ts'
import type { HandlerRun } from './handler-run.ts'
import { Nack } from './nack.ts'
import type { Requests } from './requests.ts'
import type { Incident } from './status.ts'
import type { StreamHandler } from './stream.ts'
import { StreamError } from './stream-error.ts'
import { createStreamReader } from './stream-reader.ts'
import type { StreamReader, StreamReaderOptions } from './stream-reader.ts'
import { createStreamWriter } from './stream-writer.ts'
import type { OutgoingStream } from './stream-writer.ts'
import { leave, stream } from './streamed-answer.ts'

export interface StreamsPort extends Pick<Calls, 'once'>, Pick<Requests, 'refuse'> {
  /** Writes to the open connection; without one, nowhere. */
  write(line: string): void
  /** One more or one less answer is waited for. */
  changed(): void
  emit(incident: Incident): void
  /** Bytes of JSON that the hub takes in one chunk. */
  maxPayloadBytes(): number
}

/** The streams of a client, in both directions, and the requests that a stream will answer. None outlives its connection. */
export interface Streams {
  /** Answers that are waited for or come in. */
  readonly waiting: number
  /**
   * A reader for the answer to the request with that correlation id.
   * @throws MeshError `bad_frame` for a `window` that is none
   */
  expect(correlationId: string, options: StreamReaderOptions): StreamReader
  /** A plain reply to what was to be answered by a stream. Answers false where it is none. */
  take(message: Message): boolean
  /** Sets who takes the streams that answer nothing. Answers how to remove it. @throws TypeError where there is one already */
  handle(handler: StreamHandler): () => void
  /** Opens a stream. @throws MeshError as the hub says; `connection_lost` */
  open(agent: string, correlationId?: string): Promise<OutgoingStream>
  /**
   * Answers a query with what its handler yields; the run is told why nobody wants more, and its end breaks the stream off.
   * Resolves when the query is processed.
   * @throws what gives the query back
   */
  answer(
    message: Message,
    values: AsyncIterable<unknown>,
    run: Pick<HandlerRun, 'abort' | 'signal'>,
  ): Promise<void>
  /** What is done about each frame of streams. */
  readonly frames: {
    'stream.open'(frame: StreamOpened): void
    'stream.chunk'(frame: StreamChunked): void
    'stream.credit'(frame: StreamCredited): void
    'stream.cancel'(frame: StreamCancelled): void
    'stream.end'(frame: StreamEnded): void
  }
  /** The connection is gone, and every open stream with it. */
  lost(closing: boolean): void
  /** Fails all that are still waited for. */
  fail(error: Error): void
}

/** Tells the listener of an abortion that may have happened already. */
function onAbort(signal: AbortSignal, listener: (reason: Error) => void): void {
  const aborted = (): void => listener(signal.reason as Error)
  if (signal.aborted) aborted()
  else signal.addEventListener('abort', aborted)
}

export function createStreams({ write, once, refuse, changed, emit, maxPayloadBytes }: StreamsPort): Streams {
  /** Those asked for, by correlation id: until they are over. */
  const asked = new Map<string | null | undefined, StreamReader>()
  const readers = new Map<string | null, StreamReader>()
  const writers = new Map<string, OutgoingStream>()
  let handler: StreamHandler | undefined
  let opened = 0

  const tell = (frame: object): void => write(JSON.stringify(frame))

  function read(correlationId: string | null, options: StreamReaderOptions): StreamReader {
    return createStreamReader(
      {
        write: tell,
        over(id) {
          readers.delete(id)
          if (asked.delete(correlationId)) changed()
        },
      },
      correlationId,
      options,
    )
  }

  function open(agent: string, correlationId?: string): Promise<OutgoingStream> {
    const id = `s${++opened}`
    return new Promise((resolve, reject) => {
      once(
        { type: 'stream.open', stream: id, to: { agent }, correlationId },
        () => {
          const over = (): void => void writers.delete(id)
          const writer = createStreamWriter({ write, over, maxPayloadBytes: maxPayloadBytes() }, id)
          writers.set(id, writer)
          resolve(writer)
        },
        reject,
      )
    })
  }

  /** Has the handler take a stream that answers nothing. */
  async function hand(take: StreamHandler, reader: StreamReader): Promise<void> {
    try {
      await take(reader)
    } catch (thrown) {
      const error = toError(thrown)
      reader.fail(error)
      emit({ type: 'stream_failed', from: reader.from, error })
    }
  }

  return {
    get waiting() {
      return asked.size
    },
    expect(correlationId, options) {
      checkInteger('window', options.window, LIMITS.streamCreditMax)
      const reader = read(correlationId, options)
      if (!reader.withdrawn.aborted) asked.set(correlationId, reader)
      changed()
      return reader
    },
    take({ correlationId, from, payload }) {
      const reader = asked.get(correlationId)
      if (!reader || reader.stream !== null) return false
      reader.replied(from, payload)
      return true
    },
    handle(taker) {
      checkFree(handler, 'streams')
      handler = taker
      return () => {
        if (handler === taker) handler = undefined
      }
    },
    open,
    async answer(message, values, run) {
      const iterator = values[Symbol.asyncIterator]()
      let writer: OutgoingStream | undefined
      try {
        writer = await open(message.from, message.correlationId ?? message.id)
        // The receiver's answer may have come with that of the hub.
        onAbort(writer.signal, run.abort)
        onAbort(run.signal, writer.breakOff)
        await stream(iterator, writer)
      } catch (thrown) {
        const error = toError(thrown)
        if (!writer) {
          run.abort(error)
          await leave(iterator)
        }
        const isTold = writer || (error instanceof MeshError && error.code === 'unknown_target')
        if (error instanceof Nack || !isTold) throw error
        // The asker knows, or is gone: working it out again would help nobody.
        emit({ type: 'handler_failed', message, error })
      }
    },
    frames: {
      'stream.open'({ stream: id, from, correlationId }) {
        let reader = asked.get(correlationId)
        const taker = reader ? undefined : handler
        const misuse = 'the answer is a stream: ask by requestStream'
        const isMisused = !reader && refuse(correlationId, new TypeError(misuse))
        if (taker && !isMisused) reader = read(correlationId ?? null, { timeoutMs: null })
        if (!reader || reader.stream !== null) {
          const reason = isMisused ? misuse : 'nobody waits for this stream'
          return tell({ type: 'stream.cancel', stream: id, reason })
        }
        readers.set(id, reader)
        reader.opened(id, from)
        if (taker) void hand(taker, reader)
      },
      'stream.chunk': (frame) => readers.get(frame.stream)?.chunk(frame),
      'stream.credit': (frame) => writers.get(frame.stream)?.credited(frame.credit),
      'stream.cancel'({ stream: id, reason }) {
        writers.get(id)?.stopped(new StreamError('cancelled', reason ?? 'the receiver wants no more'))
      },
      'stream.end'(frame) {
        const { stream: id, error, seq } = frame
        readers.get(id)?.ended(frame)
        if (error !== null) writers.get(id)?.stopped(new StreamError(error.code, error.message, seq))
      },
    },
    lost(closing) {
      const gone = new StreamError('peer_gone', 'the connection to the hub was lost')
      for (const reader of readers.values()) reader.fail(closing ? closedError('the stream') : gone)
      for (const writer of writers.values()) writer.stopped(gone)
    },
    fail(error) {
      for (const reader of asked.values()) reader.fail(error)
    },
  }
}
