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
import { Intake, type IntakePort } from './intake.ts'
import type { Namespace } from './namespace.ts'
import { Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import { RateLimit } from './rate-limit.ts'
import type { Session } from './session.ts'
import type { Reader, Subscription } from './subscription.ts'
import type { Expiring } from './token-expiry.ts'
import { SHARE_MS } from './turn.ts'

/**
 * greeting: a `hello` is awaited. opening: one is being worked on, nothing may be sent. open: welcomed. closing: nothing
 * is read any more.
 */
export type ConnectionState = 'greeting' | 'opening' | 'open' | 'closing'

/** After a close frame was sent, how long the peer may take to answer it. */
const CLOSE_MS = 2_000
/** Frames that a millisecond counts for that a large one takes beyond its share: at the usual rate no more than a quarter of the hub's time. */
const COUNTED_A_MS = 4

/** What a connection's handshake said. */
export interface Accepted {
  /** Who it is; absent or null: its `hello` has to say. */
  readonly principal?: Principal | null
  /** How its client speaks; absent: the hub's own protocol. */
  readonly speak?: Speak | undefined
}

/** One socket's life. */
export class Connection implements Beating, Expiring, IntakePort, Reader {
  readonly id = nanoid(10)
  readonly hub: Hub
  readonly dialect: Dialect
  readonly outbox: Outbox
  readonly #pace: Pace
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
  readonly #intake: Intake
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
    this.#intake = new Intake(this, socket, hub.turns)
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
    const { ratePerSecond, rateBurst } = hub.settings
    this.#pace = new Pace(new RateLimit(ratePerSecond, rateBurst, now), hub.principalRates)
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
  get isClosing(): boolean {
    return this.#state === 'closing'
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
    return this.#intake.held
  }
  get behind(): boolean {
    return this.outbox.behind
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#state === 'closing') return
    this.#onHeardNow()
    const read = this.dialect.read(data as Buffer, isBinary)
    if (typeof read === 'string') {
      this.close(read)
      return
    }
    this.#intake.add(read)
  }

  #onHeardNow(): void {
    this.#lastHeardAt = Date.now()
    if (this.#onHeard.length > 0) this.#tellHeard()
  }

  work(frame: Frame): void {
    const { dialect } = this
    if (!dialect.commands) dispatch(this, frame)
    else for (const command of dialect.commands(frame)) dispatch(this, command)
  }

  /** Reads no further until every reason is released; the client's silence meanwhile is not held against it. */
  hold(reason: string): void {
    this.#intake.hold(reason)
  }

  release(reason: string): void {
    this.#intake.release(reason)
  }

  onHeld(reason: string): void {
    this.hub.metrics.held(reason)
  }

  onReleased(): void {
    this.#lastHeardAt = Date.now()
  }

  /** Takes a frame's worth of its rates, or answers for how many milliseconds to hold it (0: taken). */
  takeRate(now: number): number {
    return this.#pace.take(this.#principal?.subject ?? null, now)
  }

  /** Counts a frame after it was worked on: it turned out not to be one that is free, or to be as much work as so many. */
  charge(count = 1): void {
    const waitMs = this.#pace.charge(this.#principal?.subject ?? null, Date.now(), count)
    if (waitMs > 0) this.holdFor('rate', waitMs)
  }

  onLarge(ms: number): void {
    if (this.isClosing || ms <= SHARE_MS) return
    const { rateBurst } = this.hub.settings
    this.charge(Math.min(Math.ceil((ms - SHARE_MS) * COUNTED_A_MS), rateBurst))
  }

  /** Holds the connection for a time: it is over its rate. */
  holdFor(reason: string, ms: number): void {
    this.#intake.holdFor(reason, ms)
  }

  /** Holds the connection until its client has read most of what waits for it. */
  holdBehind(): void {
    this.hold('behind')
    this.outbox.watch()
  }

  /** Works on the frame that was just taken again, before all others, when the connection is released. */
  putBack(frame: Frame): void {
    this.#intake.putBack(frame)
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

  /** Pings, and answers whether anything is heard within `ms`. While it is held its silence is the hub's. */
  async isAlive(ms: number): Promise<boolean> {
    if (this.#intake.finished) return false
    if (this.held) return true
    // Before its welcome a client says nothing, and its hello has just been heard.
    if (this.#state !== 'open') return this.#state !== 'closing'
    this.ping()
    return new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        this.#onHeard = this.#onHeard.filter((one) => one !== heard)
        resolve(this.held)
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
    // What follows a `bye` is nothing that is worked on.
    if (this.#ended) this.#end('lost')
    this.#intake.finish()
  }

  onUsedUp(): void {
    this.#end('lost')
  }

  #end(departure: Departure | null): void {
    this.#state = 'closing'
    clearTimeout(this.#helloTimer)
    this.#tellHeard()
    this.hub.heartbeat.remove(this)
    this.hub.expiry.remove(this)
    this.dialect.close?.()
    for (const subscription of this.subscriptions.values()) this.#namespace?.watchers.close(subscription)
    this.subscriptions.clear()
    this.#namespace?.exit()
    const session = this.#session
    if (session && !this.#ended)
      this.#ended = departure === null ? session.displaced() : session.leave(departure)
    this.hub.onEnded(this, this.#ended)
  }
}
