import { MeshError } from '../protocol/errors.ts'
import type { ErrorReply, Ok } from '../protocol/replies.ts'
import { abortError, lostError, overflowError, timeoutError } from './errors.ts'

/** A command without its `ref`. */
export interface Asked {
  readonly type: string
  readonly [field: string]: unknown
}

interface Call {
  readonly line: string
  /** Lost with its connection; else it is asked again on the next one. */
  readonly once: boolean
  readonly settle: (reply: Ok | ErrorReply) => void
  readonly fail: (error: Error) => void
}

/** How long an answer is waited for. */
export interface WaitOptions {
  /** Milliseconds to wait, reconnecting included. Default `requestTimeoutMs`. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

interface AskOptions {
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs: number
}

/** Commands with an answer, `send` apart: asked, and asked again after a reconnection, until answered. */
export class Calls {
  readonly #write: (line: string) => void
  readonly #max: number
  readonly #pending = new Map<string, Call>()
  #next = 1

  constructor(write: (line: string) => void, max: number) {
    this.#write = write
    this.#max = max
  }

  /**
   * Asks; the promise is the `result` of the answer. For commands that may safely be asked twice.
   * @throws MeshError as the hub says; `timeout`, `overflow`, `closed`; the reason of `signal`
   */
  ask<Result>(command: Asked, { signal, timeoutMs }: AskOptions): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(abortError(signal))
      if (this.#pending.size >= this.#max) {
        return reject(overflowError(`${this.#pending.size} commands wait for the hub (maxOutgoing)`))
      }
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
        cancel()
      }
      const fail = (error: Error): void => {
        done()
        reject(error)
      }
      const aborted = (): void => fail(abortError(signal as AbortSignal))
      const timer = setTimeout(() => fail(timeoutError(command.type, timeoutMs)), timeoutMs)
      signal?.addEventListener('abort', aborted)
      const cancel = this.#start(command, {
        once: false,
        settle(reply) {
          done()
          if (reply.type === 'ok') resolve(reply.result as Result)
          else reject(MeshError.fromBody(reply.error))
        },
        fail,
      })
    })
  }

  /**
   * Asks on this connection only; `settle` is called while the answer is read, before the next frame is, `fail` when the
   * connection is gone.
   */
  once(
    command: Asked,
    settle: (reply: Ok | ErrorReply) => void,
    fail: (error: Error) => void = () => undefined,
  ): void {
    this.#start(command, { once: true, settle, fail })
  }

  #start(command: Asked, call: Omit<Call, 'line'>): () => void {
    const ref = `c${this.#next++}`
    const line = JSON.stringify({ ...command, ref })
    this.#pending.set(ref, { ...call, line })
    this.#write(line)
    return () => void this.#pending.delete(ref)
  }

  /** The hub's answer to the command `reply.ref`; others are ignored. */
  answered(reply: Ok | ErrorReply): void {
    const ref = String(reply.ref)
    const call = this.#pending.get(ref)
    this.#pending.delete(ref)
    call?.settle(reply)
  }

  /** A session is open: what has no answer is asked again. */
  resume(): void {
    for (const call of this.#pending.values()) this.#write(call.line)
  }

  /** The connection is gone. */
  lost(): void {
    for (const [ref, call] of this.#pending) {
      if (!call.once) continue
      this.#pending.delete(ref)
      call.fail(lostError())
    }
  }

  /** Fails all that has no answer. */
  fail(error: Error): void {
    for (const call of [...this.#pending.values()]) call.fail(error)
    this.#pending.clear()
  }
}
