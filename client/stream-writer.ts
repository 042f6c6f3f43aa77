import * as LIMITS from '../protocol/limit-values.ts'
import { payloadText } from './envelope.ts'
import { handled } from './errors.ts'
import { StreamError } from './stream-error.ts'
import type { StreamWriter } from './stream.ts'

export interface StreamWriterPort {
  /** Writes to the open connection. */
  write(line: string): void
  /** No frame is for this writer any more. */
  over(): void
  /** Bytes of JSON that the hub takes in one chunk. */
  readonly maxPayloadBytes: number
}

/** The sending end: writes as much as the receiver has granted. */
export interface OutgoingStream extends StreamWriter {
  readonly hasRoom: boolean
  /** Resolves when there is credit. @throws the reason of `signal` */
  room(): Promise<void>
  /**
   * The outcome of `promise`, or the reason of `signal` where that comes first. One at a time; not a race with one promise for the
   * whole stream, which would remember every chunk.
   */
  until<Result>(promise: Promise<Result>): Promise<Result>
  /** Writes a chunk for which there is room. */
  put(payload: unknown): void
  /** Ends it now. */
  finish(failure: Error | null): void
  /** This side gives up in the middle. */
  breakOff(error: Error): void
  credited(credit: number): void
  /** The receiver wants no more, or it or the connection is gone. */
  stopped(error: StreamError): void
}

function codeOf(error: Error): string {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' ? code.slice(0, LIMITS.stringChars) : 'handler_failed'
}

export function createStreamWriter(port: StreamWriterPort, stream: string): OutgoingStream {
  const controller = new AbortController()
  const { signal } = controller
  let credit = 0
  let seq = 0
  let over = false
  let tail: Promise<unknown> = Promise.resolve()
  let onCredit: (() => void) | undefined
  let onStop: ((error: Error) => void) | undefined

  const textOf = (payload: unknown): string => payloadText(payload, port.maxPayloadBytes).text

  function put(text: string): void {
    credit--
    port.write(`{"type":"stream.chunk","stream":"${stream}","seq":${seq++},"payload":${text}}`)
  }

  function until<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      onStop = reject
      promise.then(resolve, reject)
    })
  }

  async function room(): Promise<void> {
    if (over) throw signal.reason ?? new StreamError('ended', 'the stream has ended')
    if (credit <= 0) await until(new Promise<void>((resolve) => (onCredit = resolve)))
  }

  /** Ends it, once. `isTold`: the receiver hears of it; `isStopped`: so does who writes. */
  function end(failure: Error | null, isTold: boolean, isStopped: boolean): void {
    if (over) return
    over = true
    if (isTold) {
      const error = failure && {
        code: codeOf(failure),
        message: failure.message.slice(0, LIMITS.streamErrorChars),
      }
      port.write(JSON.stringify({ type: 'stream.end', stream, error }))
    }
    port.over()
    if (!isStopped) return
    controller.abort(failure)
    onStop?.(failure as Error)
  }

  function inTurn(task: () => void | Promise<void>): Promise<void> {
    const done = handled(tail.then(task))
    tail = done.catch(() => undefined)
    return done
  }

  const finish = (failure: Error | null): void => end(failure, true, false)
  return {
    signal,
    get hasRoom() {
      return credit > 0 && !over
    },
    write(payload) {
      // Written down now: later changes of `payload` change nothing.
      const text = (async () => textOf(payload))()
      return inTurn(async () => {
        const line = await text
        await room()
        put(line)
      })
    },
    end: () => inTurn(() => finish(null)),
    fail: (error) => inTurn(() => finish(error)),
    room,
    until,
    put: (payload) => put(textOf(payload)),
    finish,
    breakOff: (error) => end(error, true, true),
    credited(more) {
      credit += more
      onCredit?.()
    },
    stopped: (error) => end(error, false, true),
  }
}
