import { LIMITS } from '../protocol/limits.ts'
import { payloadText } from './envelope.ts'
import { handled, StreamError } from './errors.ts'
import type { StreamWriter } from './stream.ts'

export interface StreamWriterPort {
  /** Writes to the open connection. */
  write(line: string): void
  /** No frame is for this writer any more. */
  over(writer: Outgoing): void
  /** Bytes of JSON that the hub takes in one chunk. */
  readonly maxPayloadBytes: number
}

/** The sending end: writes as much as the receiver has granted. */
export class Outgoing implements StreamWriter {
  readonly stream: string
  readonly #port: StreamWriterPort
  readonly #abort = new AbortController()
  #credit = 0
  #seq = 0
  #over = false
  #tail: Promise<void> = Promise.resolve()
  #onCredit: (() => void) | null = null
  #onStop: ((error: unknown) => void) | null = null

  constructor(port: StreamWriterPort, stream: string) {
    this.#port = port
    this.stream = stream
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get hasRoom(): boolean {
    return this.#credit > 0 && !this.#over
  }

  write(payload: unknown): Promise<void> {
    // Written down now: later changes of `payload` change nothing.
    const text = (async () => payloadText(payload, this.#port.maxPayloadBytes).text)()
    return this.#inTurn(async () => {
      const line = await text
      await this.room()
      this.#put(line)
    })
  }

  end(): Promise<void> {
    return this.#inTurn(() => this.finish(null))
  }

  fail(error: Error): Promise<void> {
    return this.#inTurn(() => this.finish(error))
  }

  #inTurn(task: () => void | Promise<void>): Promise<void> {
    const done = this.#tail.then(task)
    this.#tail = done.catch(() => undefined)
    return handled(done)
  }

  /** Resolves when there is credit. @throws the reason of `signal` */
  async room(): Promise<void> {
    if (this.#over) throw this.signal.reason ?? new StreamError('ended', 'the stream has ended')
    if (this.#credit > 0) return
    await this.until(new Promise<void>((resolve) => (this.#onCredit = resolve)))
  }

  /**
   * The outcome of `promise`, or the reason of `signal` where that comes first. One at a time; not a race with one promise for the
   * whole stream, which would remember every chunk.
   */
  until<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.signal.aborted) return reject(this.signal.reason as Error)
      this.#onStop = reject
      promise.then(resolve, reject)
    })
  }

  /** Writes a chunk for which there is room. */
  put(payload: unknown): void {
    this.#put(payloadText(payload, this.#port.maxPayloadBytes).text)
  }

  #put(text: string): void {
    this.#credit--
    const { stream } = this
    this.#port.write(`{"type":"stream.chunk","stream":"${stream}","seq":${this.#seq++},"payload":${text}}`)
  }

  /** Ends it now. */
  finish(failure: Error | null): void {
    if (this.#over) return
    this.#over = true
    const error = failure && {
      code: codeOf(failure),
      message: failure.message.slice(0, LIMITS.streamErrorChars),
    }
    this.#port.write(JSON.stringify({ type: 'stream.end', stream: this.stream, error }))
    this.#port.over(this)
  }

  /** This side gives up in the middle. */
  breakOff(error: Error): void {
    if (this.#over) return
    this.finish(error)
    this.#abort.abort(error)
    this.#onStop?.(error)
  }

  credited(credit: number): void {
    this.#credit += credit
    this.#onCredit?.()
  }

  /** The receiver wants no more, or it or the connection is gone. */
  stopped(error: StreamError): void {
    if (this.#over) return
    this.#over = true
    this.#port.over(this)
    this.#abort.abort(error)
    this.#onStop?.(error)
  }
}

function codeOf(error: Error): string {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' ? code.slice(0, LIMITS.stringChars) : 'handler_failed'
}
