import { nanoid } from 'nanoid'
import type { WebSocket } from 'ws'
import type { CloseReason } from '../../protocol/close-codes.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type Authenticator, OPEN } from '../auth/authenticator.ts'
import type { Core } from '../core/core.ts'
import type { Log } from '../observability/log.ts'
import { type Accepted, Connection } from './connection.ts'
import { type Metrics, NO_METRICS } from '../observability/metrics.ts'
import type { Tracing } from '../observability/tracing.ts'
import { Heartbeat } from './heartbeat.ts'
import { Lease } from './lease.ts'
import { Namespace } from './namespace.ts'
import { Flusher } from './outbox.ts'
import { RateTable } from './rate-table.ts'
import { Readiness } from './readiness.ts'
import { Reaper } from './reaper.ts'
import type { HubSettings } from './settings.ts'
import { adopt } from './standing.ts'
import { TokenExpiry } from './token-expiry.ts'
import { Turns } from './turn.ts'

export interface HubOptions {
  readonly core: Core
  readonly settings: HubSettings
  readonly log: Log
  /** Who is let in; whoever makes it closes it. Default: everybody. */
  readonly authenticator?: Authenticator
  /** Absent: nothing is counted. */
  readonly metrics?: Metrics
  /** Absent or null: nobody traces. */
  readonly tracing?: Tracing | null
  /** Milliseconds a connection has for its `hello`. */
  readonly helloTimeoutMs?: number
  /** Milliseconds a connection goes on after its token has ended. */
  readonly tokenGraceMs?: number
  /** What time it is for tokens that end, milliseconds since 1970. */
  readonly now?: () => number
}

/** A client that fetches its new token late is not cut off for it. */
const TOKEN_GRACE_MS = 25_000

/** Clients told to leave in each second of a drain. */
const LEAVING_PER_SECOND = 500
const DRAIN_MIN_MS = 2_000
const DRAIN_MAX_MS = 30_000

/** How long each part of closing may wait for the store. */
const ENDING_MS = 4_000

/** Resolves when `work` is done, or after `ms`. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let late: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise((resolve) => (late = setTimeout(resolve, ms)))])
  clearTimeout(late)
}

/** One hub: connections, and the namespaces they are in. It never knows how many hubs there are. */
export class Hub {
  readonly id = `hub-${nanoid(8)}`
  readonly core: Core
  readonly settings: HubSettings
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | null
  readonly flusher: Flusher
  readonly heartbeat: Heartbeat
  /** What all connections and HTTP requests of one principal share on this hub. */
  readonly principalRates: RateTable
  readonly turns = new Turns()
  readonly authenticator: Authenticator
  readonly expiry: TokenExpiry
  readonly maxPayloadBytes: number
  readonly helloTimeoutMs: number
  readonly #connections = new Set<Connection>()
  readonly #namespaces = new Map<string, Promise<Namespace>>()
  readonly #open = new Map<string, Namespace>()
  readonly #endings = new Set<Promise<unknown>>()
  readonly #lease: Lease
  readonly #reaper: Reaper
  readonly #readiness: Readiness
  #draining = false
  #onEmpty: (() => void) | null = null
  readonly #onDrain = new Set<() => void>()
  readonly #onTokens = new Set<() => void>()

  constructor(options: HubOptions) {
    const { core, settings, log, metrics, tracing, authenticator = OPEN } = options
    const { helloTimeoutMs = LIMITS.helloTimeoutMs } = options
    this.core = core
    this.authenticator = authenticator
    this.expiry = new TokenExpiry(options.tokenGraceMs ?? TOKEN_GRACE_MS, options.now)
    authenticator.onChange(() => this.#recheck())
    this.settings = settings
    this.log = log.child({ hub: this.id })
    this.metrics = metrics ?? NO_METRICS
    this.tracing = tracing ?? null
    this.maxPayloadBytes = settings.maxMessageBytes - LIMITS.frameOverheadBytes
    this.helloTimeoutMs = helloTimeoutMs
    this.principalRates = new RateTable(settings.principalRatePerSecond, settings.principalRateBurst)
    this.flusher = new Flusher(settings.maxMessageBytes)
    this.heartbeat = new Heartbeat({
      intervalMs: settings.heartbeatIntervalMs,
      timeoutMs: settings.heartbeatTimeoutMs,
    })
    this.#lease = new Lease(this)
    this.#reaper = new Reaper(this, this.#lease)
    this.#readiness = new Readiness(core)
  }

  /** Takes the first lease. @throws MeshError `store_unavailable` */
  async start(): Promise<void> {
    await this.#reaper.start()
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Why a message that is sent through this hub now might not arrive, a sentence each; empty: it would. Never rejects. */
  async problems(): Promise<readonly string[]> {
    const problems = await this.#readiness.problems()
    return this.#draining ? ['this hub is shutting down', ...problems] : problems
  }

  /** What is wrong with the store, a sentence each. Never rejects. */
  storeProblems(): Promise<readonly string[]> {
    return this.#readiness.problems()
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** The namespaces this hub has open. */
  get namespaces(): IterableIterator<Namespace> {
    return this.#open.values()
  }

  /** Told when no more connections are taken; it may be told twice. */
  onDrain(listener: () => void): void {
    this.#onDrain.add(listener)
  }

  /** Told when tokens have changed: what goes on by one may not be permitted any more. */
  onTokens(listener: () => void): void {
    this.#onTokens.add(listener)
  }

  #tellDrain(): void {
    for (const listener of this.#onDrain) listener()
  }

  /**
   * A WebSocket whose handshake is done.
   * @param accepted what its handshake said
   */
  accept(socket: WebSocket, accepted?: Accepted): void {
    this.metrics.opened()
    this.#connections.add(new Connection(this, socket, accepted))
  }

  /** Tokens have changed: who has one that counts no more is closed 4401, who may do less does. */
  #recheck(): void {
    for (const connection of this.#connections) {
      const { principal, state } = connection
      if (principal === null || state === 'closing') continue
      const current = this.authenticator.current(principal)
      if (current === null) connection.close('unauthorized')
      else if (current !== principal) void adopt(connection, current)
    }
    for (const listener of this.#onTokens) listener()
  }

  /** The namespace, opened where it is not. @throws MeshError `store_unavailable` */
  namespace(name: string): Promise<Namespace> {
    const known = this.#namespaces.get(name)
    this.#open.get(name)?.touch()
    if (known) return known
    const { core, settings, log, flusher, metrics } = this
    const opening = Namespace.open({ name, hub: this.id, core, settings, log, flusher, metrics }).then(
      async (namespace) => {
        this.#open.set(name, namespace)
        try {
          // Before the first agent registers there: were this hub to die, nobody would know where its agents are.
          await this.#lease.renew()
        } catch (error) {
          await this.closeNamespace(namespace)
          throw error
        }
        return namespace
      },
    )
    this.#namespaces.set(name, opening)
    // The next `hello` tries again.
    opening.catch(() => {
      if (this.#namespaces.get(name) === opening) this.#namespaces.delete(name)
    })
    return opening
  }

  async closeNamespace(namespace: Namespace): Promise<void> {
    this.#namespaces.delete(namespace.name)
    this.#open.delete(namespace.name)
    await namespace.close()
  }

  /** A connection is over; `ending` is what its session still has to tell the store. */
  onEnded(connection: Connection, ending: Promise<unknown> | null): void {
    this.#connections.delete(connection)
    if (ending) {
      const tracked = ending.catch((error: unknown) =>
        connection.log.error({ err: error }, 'session ended badly'),
      )
      this.#endings.add(tracked)
      void tracked.then(() => this.#endings.delete(tracked))
    }
    if (this.#connections.size === 0) this.#onEmpty?.()
  }

  /** A connection is open now. */
  onWelcomed(connection: Connection): void {
    if (this.#draining) connection.askToLeave(0)
  }

  /**
   * Asks every client to leave, spread over time, and waits until they have, at most about 31 s. From now on no `hello` is taken,
   * no work given out, and no `send` of who should have left; `close` ends the stragglers.
   */
  async drain(): Promise<void> {
    this.#draining = true
    this.#tellDrain()
    for (const namespace of this.#open.values()) namespace.work.pause()
    if (this.#connections.size === 0) return
    const spreadMs = Math.min(
      DRAIN_MAX_MS,
      Math.max(DRAIN_MIN_MS, (this.#connections.size / LEAVING_PER_SECOND) * 1_000),
    )
    this.log.info({ connections: this.#connections.size, spreadMs }, 'draining')
    let index = 0
    for (const connection of this.#connections) {
      const afterMs = Math.round((index++ / this.#connections.size) * spreadMs)
      // Before its welcome a client is sent nothing; its `hello` is refused, or it is asked once it is welcomed.
      if (connection.state === 'open') connection.askToLeave(afterMs)
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, spreadMs + 1_000)
      this.#onEmpty = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Closes every connection there is now in a namespace, spread over a time. */
  closeAll(namespace: Namespace, reason: CloseReason, spreadMs: number): void {
    for (const connection of this.#connections)
      if (connection.namespace === namespace)
        setTimeout(() => connection.close(reason), Math.random() * spreadMs).unref()
  }

  /** Closes every connection 4001 and tells the store what there is to tell. */
  async close(): Promise<void> {
    this.#draining = true
    this.#tellDrain()
    this.heartbeat.close()
    this.expiry.close()
    this.flusher.close()
    for (const connection of [...this.#connections]) connection.close('draining')
    // A store that does not answer must not keep a hub from ending.
    await within(ENDING_MS, Promise.all(this.#endings))
    await within(
      ENDING_MS,
      Promise.all([...this.#open.values()].map((namespace) => this.closeNamespace(namespace))),
    )
    await within(ENDING_MS, this.#reaper.close())
  }
}
