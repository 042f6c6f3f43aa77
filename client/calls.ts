import type { ErrorReply, Ok } from '../protocol/replies.ts'
import { MeshError } from '../protocol/errors.ts'
import { lostError, overflowError } from './errors.ts'
import { createPending } from './pending.ts'
import type { Limits } from './pending.ts'

/** A command without its `ref`. */
export interface Command {
  readonly type: string
  readonly [field: string]: unknown
}

/** How long an answer is waited for. */
export interface WaitOptions {
  /** Milliseconds to wait, reconnecting included. Default `requestTimeoutMs`. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

interface Call {
  readonly line: string
  /** Lost with its connection; else it is asked again on the next one. */
  readonly once: boolean
  readonly settle: (result: unknown) => void
  readonly fail: (error: Error) => void
}

/** Commands with an answer, `send` apart: asked, and asked again after a reconnection, until answered. */
export interface Calls {
  /**
   * Asks; the promise is the `result` of the answer. For commands that may safely be asked twice.
   * @throws MeshError as the hub says; `timeout`, `overflow`, `closed`; the reason of `signal`
   */
  ask<Result>(command: Command, limits: Limits): Promise<Result>
  /**
   * Asks on this connection only. `settle`, or `fail` with a MeshError, is called while the answer is read, before the next frame
   * is; `fail` with `connection_lost` when the connection is gone.
   */
  once(command: Command, settle: (result: unknown) => void, fail: (error: Error) => void): void
  /** The hub's answer to the command `reply.ref`; others are ignored. */
  answered(reply: Ok | ErrorReply): void
  /** A session is open: what has no answer is asked again. */
  resume(): void
  /** The connection is gone. */
  lost(): void
  /** Fails all that has no answer. */
  fail(error: Error): void
}

/** `max`: commands without an answer. */
export function createCalls(write: (line: string) => void, max: number): Calls {
  const pending = new Map<string, Call>()
  let refs = 0

  function start(command: Command, call: Omit<Call, 'line'>): string {
    const ref = `c${++refs}`
    const line = JSON.stringify({ ...command, ref })
    pending.set(ref, { ...call, line })
    write(line)
    return ref
  }

  /** Fails what has no answer; `isEnd`: not only what was for this connection. */
  function drop(error: Error, isEnd: boolean): void {
    for (const [ref, call] of pending) {
      if (!isEnd && !call.once) continue
      pending.delete(ref)
      call.fail(error)
    }
  }

  return {
    ask<Result>(command: Command, limits: Limits): Promise<Result> {
      let ref = ''
      const { promise, open, resolve, fail } = createPending<Result>(limits, command.type, () =>
        pending.delete(ref),
      )
      if (pending.size >= max) fail(overflowError(pending.size, 'commands', 'maxOutgoing'))
      else if (open)
        ref = start(command, { once: false, settle: (result) => resolve(result as Result), fail })
      return promise
    },
    once: (command, settle, fail) => void start(command, { once: true, settle, fail }),
    answered(reply) {
      const ref = String(reply.ref)
      const call = pending.get(ref)
      pending.delete(ref)
      if (reply.type === 'ok') call?.settle(reply.result)
      else call?.fail(MeshError.fromBody(reply.error))
    },
    resume() {
      for (const { line } of pending.values()) write(line)
    },
    lost: () => drop(lostError(), false),
    fail: (error) => drop(error, true),
  }
}
