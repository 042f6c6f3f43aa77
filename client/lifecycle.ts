import { MeshError } from '../protocol/errors.ts'
import type { Push } from '../protocol/pushes.ts'
import type { Reply, Welcome } from '../protocol/replies.ts'
import { wakeDelay } from './backoff.ts'
import { createConnection } from './connection.ts'
import type { Connection } from './connection.ts'
import { toError } from './errors.ts'
import { createPending } from './pending.ts'
import type { Pending } from './pending.ts'
import type { Settings } from './options.ts'
import type { Platform } from './socket.ts'
import { advance, endingOf } from './state.ts'
import type { ConnectionState, Ending, Occurrence } from './state.ts'
import type { Line } from './writer.ts'

/** What a client makes of its connections. */
export interface LifecycleListener {
  /** The fields of the next `hello` besides `type`, `ref` and `token`. */
  hello(): Readonly<Record<string, unknown>>
  /** Whether the session can be used; if not, `hello` is said again on a new connection, at once. */
  accepts(welcome: Welcome): boolean
  /** A session is open; the state has been told. */
  opened(welcome: Welcome): void
  frame(frame: Reply | Push): void
  /** The open session is gone; the new state is told next. */
  lost(): void
  changed(state: ConnectionState): void
}

/** Milliseconds until a client that was put away with its page tries again all the same, should nobody tell that it is back. */
const AWAY_MS = 5000
const TAKEN = /^(name|agent)_taken$|^quota_exceeded$/

/** Keeps one connection at a time, from the first try until `end`, by the rules of PROTOCOL.md section 8. */
export interface Lifecycle {
  readonly state: ConnectionState
  start(): void
  /** Writes to the open session; without one, nowhere. */
  write(line: Line): void
  /** The hub wants to be left in `afterMs` milliseconds. */
  goAway(afterMs: number): void
  /** Gives the session up and connects again, after the usual delay. */
  renew(error: Error): void
  drain(): void
  /** Ends it all: closes the connection, tries no more. Resolves when the socket is closed. */
  end(error: Error | null): Promise<void>
}

export function createLifecycle(
  platform: Platform,
  { urls, token: given, connectTimeoutMs: timeoutMs, takenTimeoutMs }: Settings,
  listener: LifecycleListener,
): Lifecycle {
  const stopWaking = platform.onWake(wake, putAway)
  let state: ConnectionState = { type: 'idle' }
  let connection: Connection | undefined
  /** Until the socket that was given up last is closed. */
  let closing: Promise<void> | undefined
  /** Counts dials: what an earlier one still brings about is nobody's. */
  let dials = 0
  let nextUrl = 0
  let fetching: Pending<string> | undefined
  let retry: ReturnType<typeof setTimeout> | undefined
  let leave: ReturnType<typeof setTimeout> | undefined
  let welcomedOnce = false
  let takenSince = 0
  /** A session was not resumed and could not be used; the one after it counts as not resumed either. */
  let forgotten = false

  /** Answers whether that made a difference. */
  function change(occurrence: Occurrence): boolean {
    const before = state
    state = advance(before, occurrence)
    const isOther = state !== before
    if (isOther) listener.changed(state)
    return isOther
  }

  /** Dials the next URL, once the former socket is closed: never two at once. */
  async function dial(): Promise<void> {
    const url = urls[nextUrl++ % urls.length] as string
    const number = ++dials
    change({ type: 'dial', url, now: Date.now() })
    await closing
    if (number !== dials) return
    let token: string | null
    try {
      token = await fetchToken()
    } catch (error) {
      if (number === dials) lost(endingOf('token', error as Error))
      return
    }
    if (number !== dials) return
    const hello = { ...listener.hello(), ...(platform.tokenInHello && token !== null && { token }) }
    try {
      connection = createConnection(
        platform,
        { url, token, hello, timeoutMs },
        {
          connected: () => void change({ type: 'connected' }),
          welcomed,
          frame: listener.frame,
          ended: lost,
        },
      )
    } catch (cause) {
      // The platform refuses the URL itself, like `ws:` on a page that came by `https:`.
      void end(new MeshError('bad_frame', toError(cause).message, { details: url, cause }))
    }
  }

  async function fetchToken(): Promise<string | null> {
    if (typeof given !== 'function') return given
    fetching = createPending<string>({ timeoutMs }, 'options.token')
    const fetched = async (): Promise<string> => given()
    fetched().then(fetching.resolve, fetching.fail)
    return fetching.promise
  }

  function welcomed(welcome: Welcome): void {
    if (!listener.accepts(welcome)) {
      forgotten = true
      hangUp()
      void dial()
      return
    }
    const resumed = welcome.resumed && !forgotten
    forgotten = false
    welcomedOnce = true
    change({ type: 'welcomed', hub: welcome.hub, resumed, now: Date.now() })
    listener.opened(welcome)
  }

  function lost(cause: Ending): void {
    const drained = state.type === 'draining' && cause.code === 1000
    stopTimers()
    drop()
    if (isFinal(cause)) {
      // The hub closes after `bye`, maybe before its `ok` has been looked at.
      void end(drained ? null : cause.error)
      return
    }
    change({ type: 'lost', cause, now: Date.now(), random: Math.random() })
    scheduleRetry()
  }

  function isFinal({ reason, error, final }: Ending): boolean {
    const { code } = error as { readonly code?: unknown }
    // A token that was good once may have expired while this client was away.
    if (welcomedOnce) return final && !(typeof given === 'function' && code === 'unauthorized')
    // Later, whoever has the name or id will go, or the application will `close()`.
    if (final || reason !== 'refused' || !TAKEN.test(String(code))) return final
    takenSince ||= Date.now()
    return Date.now() - takenSince >= takenTimeoutMs
  }

  function scheduleRetry(): void {
    if (state.type !== 'waiting') return
    clearTimeout(retry)
    retry = setTimeout(() => void dial(), state.delayMs)
  }

  function wake(atOnce: boolean): void {
    if (state.type === 'open') connection?.probe()
    const delayMs = atOnce ? 0 : wakeDelay(Math.random())
    if (change({ type: 'woken', delayMs, now: Date.now() })) scheduleRetry()
  }

  /** A page with a socket may not be kept for going back, and one that is frozen hears nothing: the hub had better know. */
  function putAway(): void {
    if (state.type === 'waiting') return
    dials++
    const left = connection
    hangUp()
    left?.leave()
    const error = new DOMException('the page was put away', 'AbortError')
    lost(endingOf('left', error, { retryAfterMs: AWAY_MS }))
  }

  /** Closes the connection on our own account. */
  function hangUp(): void {
    const left = connection
    drop()
    if (left) closing = left.close()
  }

  /** The connection is not ours any more. */
  function drop(): void {
    connection = undefined
    if (state.type === 'open' || state.type === 'draining') listener.lost()
  }

  function stopTimers(): void {
    fetching?.resolve('')
    clearTimeout(retry)
    clearTimeout(leave)
    leave = undefined
  }

  async function end(error: Error | null): Promise<void> {
    if (state.type === 'closed') return
    dials++
    stopTimers()
    stopWaking()
    hangUp()
    change({ type: 'close', error })
    await closing
  }

  return {
    get state() {
      return state
    },
    start: () => void dial(),
    write: (line) => connection?.write(line),
    goAway(afterMs) {
      leave ??= setTimeout(() => {
        leave = undefined
        if (state.type !== 'open') return
        hangUp()
        void dial()
      }, afterMs)
    },
    renew(error) {
      if (!connection) return
      hangUp()
      lost(endingOf('left', error))
    },
    drain: () => void change({ type: 'drain' }),
    end,
  }
}
