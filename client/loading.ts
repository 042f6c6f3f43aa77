import type { Message } from '../protocol/pushes.ts'
import type { Welcome } from '../protocol/replies.ts'
import { reconnectDelay } from './backoff.ts'
import type { Frame } from './frames.ts'
import type { CreateParts, Parts } from './parts.ts'
import { createPending } from './pending.ts'

/** Answers how to make the parts, at once or when they are fetched. `attempt` counts from 0. */
export type LoadParts = (attempt: number) => CreateParts | Promise<CreateParts>

/**
 * The parts of a client, which may come later than the first session: what is asked of them until then is done in turn when they
 * are there, and then what the hub has told them since the connection was opened. They are fetched from the first session on; a
 * fetch that failed is tried again with each new one, and in between as seldom as a connection is.
 */
export interface Loading {
  /** Absent: they are not there yet. */
  readonly parts: Parts | undefined
  /** Does something with the parts, now or when they are there; `fail` is called as that of this where the client has ended before. */
  soon(use: (parts: Parts) => void, fail?: (error: Error, reason: Error | null) => void): void
  /** What the parts make, now or when they are there. */
  later<Result>(make: (parts: Parts) => Promise<Result>): Promise<Result>
  /** A frame for the parts came. */
  frame(frame: Frame): void
  /** A session is open. */
  resume(welcome: Welcome): void
  /** The connection is gone. What was kept of it comes again, or was for it alone. */
  lost(closing: boolean): void
  /** The client has ended: `error` is for what is open, `reason` is null where it was closed. */
  fail(error: Error, reason: Error | null): void
}

/** `assemble`: makes the parts of what was loaded. `window`: of transient messages no more are kept. */
export function createLoading(
  load: LoadParts,
  assemble: (create: CreateParts) => Parts,
  window: number,
): Loading {
  let parts: Parts | undefined
  let waiting: Parameters<Loading['soon']>[] = []
  let kept: Frame[] = []
  let welcome: Welcome | undefined
  let fetches = 0
  let fetching = false
  let ended: Error | undefined
  let retry: ReturnType<typeof setTimeout> | undefined

  function fetch(): void {
    clearTimeout(retry)
    if (fetching) return
    const loaded = load(fetches++)
    if (!(loaded instanceof Promise)) return arrived(loaded)
    fetching = true
    loaded.then(arrived, () => {
      fetching = false
      if (!ended) retry = setTimeout(fetch, reconnectDelay(fetches, Math.random()))
    })
  }

  function arrived(create: CreateParts): void {
    if (ended) return
    parts = assemble(create)
    if (welcome) parts.resume(welcome)
    for (const [use] of waiting) use(parts)
    for (const frame of kept) parts.frame(frame)
    waiting = kept = []
  }

  function soon(...use: (typeof waiting)[number]): void {
    if (parts) use[0](parts)
    else if (ended) use[1]?.(ended, ended)
    else waiting.push(use)
  }

  return {
    get parts() {
      return parts
    },
    soon,
    later<Result>(make: (parts: Parts) => Promise<Result>): Promise<Result> {
      if (parts) return make(parts)
      const { promise, resolve, fail } = createPending<Result>()
      soon((loaded) => void make(loaded).then(resolve, fail), fail)
      return promise
    },
    frame(frame) {
      if (parts) parts.frame(frame)
      // A connection that says nothing else must not fill the memory.
      else if (frame.type !== 'ping' && !((frame as Message).transient && kept.length >= window))
        kept.push(frame)
    },
    resume(latest) {
      welcome = latest
      if (parts) parts.resume(latest)
      else fetch()
    },
    lost(closing) {
      welcome = undefined
      kept = []
      parts?.lost(closing)
    },
    fail(error, reason) {
      ended = error
      clearTimeout(retry)
      parts?.fail(error, reason)
      for (const [, fail] of waiting) fail?.(error, reason)
      waiting = []
    },
  }
}
