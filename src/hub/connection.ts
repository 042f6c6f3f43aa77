import { nanoid } from 'nanoid'
import type { RawData, WebSocket } from 'ws'
import { CLOSE_CODES, type CloseReason } from '../../protocol/close-codes.ts'
import type { Ref } from '../../protocol/commands.ts'
import { errorBody } from '../../protocol/error-table.ts'
import type { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Principal } from '../auth/principal.ts'
import type { Departure } from '../core/registry.ts'
import type { Log } from '../observability/log.ts'
import { type Dialect, type Frame, type Speak, speakMeshwire } from './dialect.ts'
import { dispatch } from './dispatch.ts'
import type { Beating } from './heartbeat.ts'
import type { Hub } from './hub.ts'
import type { Namespace } from './namespace.ts'
import { Outbox } from './outbox.ts'
import { RateLimit } from './rate-limit.ts'
import type { Session } from './session.ts'
import type { Reader, Subscription } from './subscription.ts'
import type { Expiring } from './token-expiry.ts'

/**
 * greeting: a `hello` is awaited. opening: one is being worked on, nothing may be sent. open: welcomed. closing: nothing
 * is read any more.
 */
export type ConnectionState = 'greeting' | 'opening' | 'open' | 'closing'

/** After a close frame was sent, how long the peer may take to answer it. */
const CLOSE_MS = 2_000

/** What a connection's handshake said. */
export interface Accepted {
  /** Who it is; absent or null: its `hello` has to say. */
  readonly principal?: Principal | null
  /** How its client speaks; absent: the hub's own protocol. */
  readonly speak?: Speak | undefined
}

/** One socket's life. */
export class Connection implements Beating, Expiring, Reader {
  readonly id = nanoid(10)
  readonly hub: Hub
  readonly dialect: Dialect
  readonly outbox: Outbox
  readonly #rate: RateLimit
  readonly updateRate: RateLimit
  readonly subscriptions = new Map<string, Subscription>()
  /** Subscriptions that are being opened. */
  subscribing = 0
  /** A new token is being looked at. */
  authenticating = false
  readonly log: Log
  /** Who it is by its handshake; null: each `hello` has to say. */
  readonly admitted: Principal | null
  #principal: Principal | null
  readonly #socket: WebSocket
  readonly #helloTimer: NodeJS.Timeout
  /** Frames that were read and not yet worked on, because the connection is held: those from `#next` on. */
  #frames: Frame[] = []
  #next = 0
  readonly #holds = new Set<string>()
  /** Its principal's rate has been charged for the frame that comes next. */
  #paid = false
  /** When its client was asked to be gone by, by `performance.now()`. */
  #leaveAt = Number.POSITIVE_INFINITY
  #state: ConnectionState = 'greeting'
  #namespace: Namespace | null = null
  #session: Session | null = null
  #lastHeardAt = Date.now()
  #onHeard: (() => void)[] = []
  #ended: Promise<unknown> | null = null

  constructor(hub: Hub, socket: WebSocket, { principal = null, speak = speakMeshwire }: Accepted = {}) {
    const now = Date.now()
    this.hub = hub
    this.admitted = principal
    this.#principal = principal
    this.#socket = socket
    this.log = hub.log.child({ connectionId: this.id })
    this.dialect = speak(this)
    const { dialect } = this
    this.outbox = new Outbox(
      socket,
      hub.flusher,
      now,
      () => this.#onDrain(),
      () => this.close('slow_consumer'),
      dialect.write ? (text) => dialect.write?.(text) ?? [] : null,
    )
    this.#rate = new RateLimit(hub.settings.ratePerSecond, hub.settings.rateBurst, now)
    this.updateRate = new RateLimit(LIMITS.updatesPerSecond, LIMITS.updatesPerSecond, now)
    this.#helloTimer = setTimeout(() => this.close('no_hello'), hub.helloTimeoutMs)
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('pong', () => this.#onHeardNow())
    socket.on('close', (code) => this.#onClose(code))
    // ws closes the socket itself, with the code the breach calls for; its `close` event follows.
    socket.on('error', (error) => this.log.debug({ err: error }, 'socket failed'))
  }

  get state(): ConnectionState {
    return this.#state
  }
  get namespace(): Namespace | null {
    return this.#namespace
  }
  get session(): Session | null {
    return this.#session
  }
  /** Null until it is known. */
  get principal(): Principal | null {
    return this.#principal
  }
  set principal(principal: Principal | null) {
    this.#principal = principal
    if (this.#state === 'open') this.hub.expiry.add(this)
  }
  get expiresAt(): number | null {
    return this.#principal?.expiresAt ?? null
  }
  get lastHeardAt(): number {
    return this.#lastHeardAt
  }
  get lastSentAt(): number {
    return this.outbox.lastSentAt
  }
  get held(): boolean {
    return this.#holds.size > 0
  }
  get behind(): boolean {
    return this.outbox.behind
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#state === 'closing') return
    this.#onHeardNow()
    const { frames, close } = this.dialect.read(data as Buffer, isBinary)
    if (this.#frames.length === 0) this.#frames = frames
    else for (const frame of frames) this.#frames.push(frame)
    this.#process()
    if (close) this.close(close)
  }

  #onHeardNow(): void {
    this.#lastHeardAt = Date.now()
    if (this.#onHeard.length > 0) this.#tellHeard()
  }

  /** Works on what was read, until the connection is held. */
  #process(): void {
    try {
      while (this.#next < this.#frames.length && !this.held && this.#state !== 'closing') {
        const frame = this.#frames[this.#next++]
        if (frame) this.#work(frame)
      }
    } catch (error) {
      // Commands tell their own failures; what comes here is a fault of the hub, which must end no other connection.
      this.onFailure(error)
    }
    if (this.#next < this.#frames.length && this.#state !== 'closing') return
    this.#frames = []
    this.#next = 0
  }

  #work(frame: Frame): void {
    const { dialect } = this
    if (!dialect.commands) dispatch(this, frame)
    else for (const command of dialect.commands(frame)) dispatch(this, command)
  }

  /** Reads no further until every reason is released; the client's silence meanwhile is not held against it. */
  hold(reason: string): void {
    if (!this.#holds.has(reason) && reason !== 'bye') this.hub.metrics.held(reason)
    this.#holds.add(reason)
    if (this.#state !== 'closing') this.#socket.pause()
  }

  release(reason: string): void {
    if (!this.#holds.delete(reason) || this.held || this.#state === 'closing') return
    this.#lastHeardAt = Date.now()
    this.#process()
    if (!this.held) this.#socket.resume()
  }

  /** Takes a frame's worth of its own rate and its principal's, or answers for how many milliseconds to hold it (0: taken). */
  takeRate(now: number): number {
    if (this.#paid) {
      this.#paid = false
      return 0
    }
    const waitMs = this.#rate.take(now)
    const { subject = null } = this.#principal ?? {}
    if (waitMs > 0 || subject === null) return waitMs
    const sharedMs = this.hub.principalRates.reserve(subject, now)
    this.#paid = sharedMs > 0
    return sharedMs
  }

  /** Holds the connection for a time: it is over its rate. */
  holdFor(reason: string, ms: number): void {
    this.hold(reason)
    setTimeout(() => this.release(reason), ms).unref()
  }

  /** Holds the connection until its client has read most of what waits for it. */
  holdBehind(): void {
    this.hold('behind')
    this.outbox.watch()
  }

  /** Works on the frame that was just taken again, before all others, when the connection is released. */
  putBack(frame: Frame): void {
    if (this.#next === 0) this.#frames.unshift(frame)
    else this.#frames[--this.#next] = frame
  }

  push(text: string): void {
    if (this.#state !== 'closing') this.outbox.push(text)
  }

  /** Answers a request; `result` is JSON. */
  reply(ref: Ref, result: string): void {
    this.push(`{"type":"ok","ref":${JSON.stringify(ref)},"result":${result}}`)
  }

  fail(ref: Ref | undefined, error: MeshError): void {
    this.hub.metrics.failed(error.code)
    this.push(
      JSON.stringify({ type: 'error', ...(ref === undefined ? {} : { ref }), error: errorBody(error) }),
    )
  }

  /** A `hello` is being worked on. */
  beginHello(): void {
    this.#state = 'opening'
  }

  /** The `hello` failed: the client may try again. */
  failHello(): void {
    if (this.admitted === null) this.#principal = null
    if (this.#state === 'opening') this.#state = 'greeting'
  }

  /** Welcomed, as an agent or (`session` null) as an observer. */
  welcome(namespace: Namespace, session: Session | null): void {
    clearTimeout(this.#helloTimer)
    this.#state = 'open'
    this.#namespace = namespace
    this.#session = session
    namespace.enter()
    this.hub.heartbeat.add(this)
    this.hub.expiry.add(this)
    this.log.info(
      {
        namespace: namespace.name,
        agentId: session?.agentId ?? null,
        subject: this.#principal?.subject ?? null,
      },
      'connection open',
    )
  }

  /** Asks the client to leave within a time; what it sends until then is taken. */
  askToLeave(afterMs: number): void {
    this.#leaveAt = performance.now() + afterMs
    this.push(JSON.stringify({ type: 'goaway', reason: 'draining', reconnectAfterMs: afterMs }))
  }

  /** The client should be gone: nothing is stored for it here any more. */
  get isLeaving(): boolean {
    return performance.now() >= this.#leaveAt
  }

  ping(): void {
    this.push('{"type":"ping"}')
  }

  /** Pings, and answers whether anything is heard within `ms`. */
  async isAlive(ms: number): Promise<boolean> {
    // Before its welcome a client says nothing, and its hello has just been heard.
    if (this.#state !== 'open') return this.#state !== 'closing'
    this.ping()
    return new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        this.#onHeard = this.#onHeard.filter((one) => one !== heard)
        resolve(false)
      }, ms)
      const heard = (): void => {
        clearTimeout(timer)
        resolve(true)
      }
      this.#onHeard.push(heard)
    })
  }

  /** Calls back once, when something is heard of the client, or the connection ends. */
  whenHeard(heard: () => void): void {
    this.#onHeard.push(heard)
  }

  #tellHeard(): void {
    const waiting = this.#onHeard
    this.#onHeard = []
    for (const heard of waiting) heard()
  }

  onSilence(): void {
    this.close('no_sign_of_life')
  }

  onExpired(): void {
    this.close('token_expired')
  }

  /** What nobody waits for has failed: a fault of the hub. */
  onFailure(error: unknown): void {
    this.log.error({ err: error }, 'connection failed')
    this.close('hub_failed')
  }

  #onDrain(): void {
    if (this.outbox.behind) return
    this.release('behind')
    if (this.#state !== 'open') return
    const session = this.#session
    session?.delivery.resume()
    session?.worker.onRoom()
    if (session) this.#namespace?.streams.drained(session)
    for (const subscription of this.subscriptions.values()) this.#namespace?.watchers.pump(subscription)
  }

  /** Another session has the agent. */
  displace(): void {
    this.#close('taken_over', null)
  }

  close(reason: CloseReason): void {
    this.#close(reason, 'lost')
  }

  /** Ends the session as `bye` asks; the caller answers and then closes. Resolves with the revision of the last change. */
  async bye(departure: Departure): Promise<number | null> {
    const leaving = this.#session?.leave(departure) ?? Promise.resolve(null)
    this.#ended = leaving
    this.hold('bye')
    return leaving
  }

  #close(reason: CloseReason, departure: Departure | null): void {
    if (this.#state === 'closing') return
    this.outbox.flush()
    this.#end(departure)
    this.log.info({ code: CLOSE_CODES[reason], reason }, 'connection closing')
    this.hub.metrics.closed('hub', CLOSE_CODES[reason])
    // A paused socket would never see the peer's close frame.
    this.#socket.resume()
    this.#socket.close(CLOSE_CODES[reason], reason)
    setTimeout(() => this.#socket.terminate(), CLOSE_MS).unref()
  }

  #onClose(code: number): void {
    if (this.#state === 'closing') return
    this.log.info({ code }, 'connection closed')
    this.hub.metrics.closed('client', code)
    // A hold must not keep back what the client sent before it left.
    this.#holds.clear()
    if (!this.#ended) this.#process()
    this.#end('lost')
  }

  #end(departure: Departure | null): void {
    this.#state = 'closing'
    clearTimeout(this.#helloTimer)
    this.#tellHeard()
    this.hub.heartbeat.remove(this)
    this.hub.expiry.remove(this)
    for (const subscription of this.subscriptions.values()) this.#namespace?.watchers.close(subscription)
    this.subscriptions.clear()
    this.#namespace?.exit()
    const session = this.#session
    if (session && !this.#ended)
      this.#ended = departure === null ? session.displaced() : session.leave(departure)
    this.hub.onEnded(this, this.#ended)
  }
}
