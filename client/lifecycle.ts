import { MeshError } from '../protocol/errors.ts'
import type { Push } from '../protocol/pushes.ts'
import type { Reply, Welcome } from '../protocol/replies.ts'
import { wakeDelay } from './backoff.ts'
import { Connection } from './connection.ts'
import { timeoutError, toError } from './errors.ts'
import type { Settings } from './options.ts'
import type { Platform } from './socket.ts'
import { advance } from './state.ts'
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
const TAKEN: ReadonlySet<string> = new Set(['name_taken', 'agent_taken', 'quota_exceeded'])

/** Keeps one connection at a time, from the first try until `end`, by the rules of PROTOCOL.md section 8. */
export class Lifecycle {
  readonly #platform: Platform
  readonly #settings: Settings
  readonly #listener: LifecycleListener
  readonly #stopWaking: () => void
  #state: ConnectionState = { type: 'idle' }
  #connection: Connection | null = null
  /** Until the socket that was given up last is closed. */
  #closing: Promise<void> = Promise.resolve()
  #nextUrl = 0
  /** Counts dials: what an earlier one still brings about is nobody's. */
  #dials = 0
  #retry: ReturnType<typeof setTimeout> | null = null
  #leave: ReturnType<typeof setTimeout> | null = null
  #welcomedOnce = false
  #takenSince: number | null = null
  /** A session was not resumed and could not be used; the one after it counts as not resumed either. */
  #forgotten = false

  constructor(platform: Platform, settings: Settings, listener: LifecycleListener) {
    this.#platform = platform
    this.#settings = settings
    this.#listener = listener
    this.#stopWaking = platform.onWake(
      (atOnce) => this.#wake(atOnce),
      () => this.#putAway(),
    )
  }

  get state(): ConnectionState {
    return this.#state
  }

  start(): void {
    if (this.#state.type === 'idle') void this.#dial()
  }

  /** Writes to the open session; without one, nowhere. */
  write(line: Line): void {
    this.#connection?.write(line)
  }

  /** The hub wants to be left in `afterMs` milliseconds. */
  goAway(afterMs: number): void {
    this.#leave ??= setTimeout(() => this.#move(), afterMs)
  }

  /** Gives the session up and connects again, after the usual delay. */
  renew(error: Error): void {
    if (this.#connection === null) return
    this.#hangUp()
    this.#lost({ reason: 'left', code: null, error, final: false, retryAfterMs: null })
  }

  drain(): void {
    this.#advance({ type: 'drain' })
  }

  /** Ends it all: closes the connection, tries no more. Resolves when the socket is closed. */
  async end(error: Error | null): Promise<void> {
    if (this.#state.type === 'closed') return
    this.#dials++
    this.#stopTimers()
    this.#stopWaking()
    this.#hangUp()
    this.#advance({ type: 'close', error })
    await this.#closing
  }

  #advance(occurrence: Occurrence): void {
    const state = advance(this.#state, occurrence)
    if (state === this.#state) return
    this.#state = state
    this.#listener.changed(state)
  }

  /** Dials the next URL, once the former socket is closed: never two at once. */
  async #dial(): Promise<void> {
    const { urls, connectTimeoutMs } = this.#settings
    const url = urls[this.#nextUrl++ % urls.length] as string
    const dial = ++this.#dials
    this.#advance({ type: 'dial', url, now: Date.now() })
    await this.#closing
    if (dial !== this.#dials) return
    let token: string | null
    try {
      token = await this.#token()
    } catch (error) {
      if (dial !== this.#dials) return
      this.#lost({ reason: 'token', code: null, error: error as Error, final: false, retryAfterMs: null })
      return
    }
    if (dial !== this.#dials) return
    const { tokenInHello } = this.#platform
    const hello = { ...this.#listener.hello(), ...(tokenInHello && token !== null ? { token } : {}) }
    try {
      this.#connection = new Connection(
        this.#platform,
        { url, token, hello, timeoutMs: connectTimeoutMs },
        {
          connected: () => this.#advance({ type: 'connected' }),
          welcomed: (welcome) => this.#welcomed(welcome),
          frame: (frame) => this.#listener.frame(frame),
          ended: (ending) => this.#lost(ending),
        },
      )
    } catch (error) {
      // The platform refuses the URL itself, like `ws:` on a page that came by `https:`.
      void this.end(new MeshError('bad_frame', toError(error).message, { details: url, cause: error }))
    }
  }

  async #token(): Promise<string | null> {
    const { token, connectTimeoutMs } = this.#settings
    if (typeof token !== 'function') return token
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const giveUp = (): void => reject(timeoutError('options.token', connectTimeoutMs))
      this.#retry = timer = setTimeout(giveUp, connectTimeoutMs)
    })
    try {
      return await Promise.race([token(), late])
    } finally {
      clearTimeout(timer)
    }
  }

  #welcomed(welcome: Welcome): void {
    if (!this.#listener.accepts(welcome)) {
      this.#forgotten = true
      this.#hangUp()
      void this.#dial()
      return
    }
    const resumed = welcome.resumed && !this.#forgotten
    this.#forgotten = false
    this.#welcomedOnce = true
    this.#advance({ type: 'welcomed', hub: welcome.hub, resumed, now: Date.now() })
    this.#listener.opened(welcome)
  }

  #lost(cause: Ending): void {
    const drained = this.#state.type === 'draining' && cause.code === 1000
    this.#stopTimers()
    this.#drop()
    if ((cause.final && !this.#hasFreshToken(cause)) || this.#takenTooLong(cause)) {
      // The hub closes after `bye`, maybe before its `ok` has been looked at.
      void this.end(drained ? null : cause.error)
      return
    }
    this.#advance({ type: 'lost', cause, now: Date.now(), random: Math.random() })
    this.#scheduleRetry()
  }

  /** A token that was good once may have expired while this client was away. */
  #hasFreshToken({ error }: Ending): boolean {
    const { code } = error as { readonly code?: unknown }
    return this.#welcomedOnce && typeof this.#settings.token === 'function' && code === 'unauthorized'
  }

  /** Only before the first welcome: later, whoever has the name or id will go, or the application will `close()`. */
  #takenTooLong({ reason, error }: Ending): boolean {
    if (this.#welcomedOnce || reason !== 'refused' || !('code' in error) || !TAKEN.has(String(error.code)))
      return false
    this.#takenSince ??= Date.now()
    return Date.now() - this.#takenSince >= this.#settings.takenTimeoutMs
  }

  #scheduleRetry(): void {
    if (this.#state.type !== 'waiting') return
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void this.#dial(), this.#state.delayMs)
  }

  /** Leaves a hub that shuts down, for another one. */
  #move(): void {
    this.#leave = null
    if (this.#state.type !== 'open') return
    this.#hangUp()
    void this.#dial()
  }

  #wake(atOnce: boolean): void {
    if (this.#state.type === 'open') this.#connection?.probe()
    const before = this.#state
    this.#advance({ type: 'woken', delayMs: atOnce ? 0 : wakeDelay(Math.random()), now: Date.now() })
    if (this.#state !== before) this.#scheduleRetry()
  }

  /** A page with a socket may not be kept for going back, and one that is frozen hears nothing: the hub had better know. */
  #putAway(): void {
    if (this.#state.type === 'waiting') return
    this.#dials++
    const connection = this.#connection
    this.#hangUp()
    connection?.leave()
    const error = new DOMException('the page was put away', 'AbortError')
    this.#lost({ reason: 'left', code: null, error, final: false, retryAfterMs: AWAY_MS })
  }

  /** Closes the connection on our own account. */
  #hangUp(): void {
    const connection = this.#connection
    this.#drop()
    if (connection !== null) this.#closing = connection.close()
  }

  /** The connection is not ours any more. */
  #drop(): void {
    this.#connection = null
    if (this.#state.type === 'open' || this.#state.type === 'draining') this.#listener.lost()
  }

  #stopTimers(): void {
    if (this.#retry !== null) clearTimeout(this.#retry)
    if (this.#leave !== null) clearTimeout(this.#leave)
    this.#retry = null
    this.#leave = null
  }
}
