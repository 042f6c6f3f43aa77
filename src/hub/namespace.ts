import type { CloseReason } from '../../protocol/close-codes.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Subscription as BusSubscription } from '../core/bus.ts'
import type { Core } from '../core/core.ts'
import type { AgentRecord, RegistryEvent } from '../core/registry.ts'
import type { Log } from '../observability/log.ts'
import { type Metrics, NO_METRICS } from '../observability/metrics.ts'
import { FormerAgents } from './former-agents.ts'
import { Ghosts } from './ghosts.ts'
import { GroupCommit } from './group-commit.ts'
import { LogReader } from './log-reader.ts'
import { createdAtOf } from './message-text.ts'
import type { Flusher } from './outbox.ts'
import { Pauses } from './pauses.ts'
import { Probes } from './probes.ts'
import { Reclaims } from './reclaims.ts'
import { Replica } from './replica.ts'
import { ReplicaSync } from './replica-sync.ts'
import type { Session } from './session.ts'
import type { HubSettings } from './settings.ts'
import { Settler } from './settler.ts'
import { onSignal } from './signals.ts'
import { Streams } from './streams.ts'
import { Sweep } from './sweep.ts'
import { Watchers } from './watchers.ts'
import { Work } from './work.ts'

/** How long heartbeats are told after somebody asked for them, and how often that is asked again. */
const WANTED_MS = 30_000
const WANT_AGAIN_MS = 10_000
/** Agents asked to come back in a second, after the store has lost data, and the most that this may take. */
const RETURNS_PER_SECOND = 500
const RETURN_SPREAD_MS = 10_000
/** Work queues and events are looked at once in so many sweeps. */
const QUEUES_EVERY = 5

export interface NamespaceOptions {
  readonly name: string
  readonly hub: string
  readonly core: Core
  readonly settings: HubSettings
  readonly log: Log
  readonly flusher: Flusher
  readonly metrics?: Metrics
}

/** One namespace on one hub: its copy of the registry, its agents' sessions, and what goes to and comes from the store. */
export class Namespace {
  readonly name: string
  readonly hub: string
  readonly core: Core
  readonly settings: HubSettings
  readonly metrics: Metrics
  readonly replica = new Replica()
  readonly watchers: Watchers
  readonly settler: Settler
  readonly work: Work
  readonly broadcasts: LogReader
  readonly commit: GroupCommit
  readonly probes: Probes
  readonly streams: Streams
  readonly reclaims: Reclaims
  readonly #ghosts: Ghosts
  readonly #sweep: Sweep
  /** Fences of sessions that are registered and not added yet: their clients have just been heard. */
  readonly opening = new Set<number>()
  readonly #log: Log
  readonly #sync: ReplicaSync
  readonly #sessions = new Map<string, Session>()
  #subscription: BusSubscription | null = null
  #heartbeatsWantedUntil = 0
  #wantedAt = 0
  #sweeps = 0
  #connections = 0
  #idleSince = Date.now()
  /** The revision that the store's epoch began with here, where it is not the first: sessions before it are void. */
  #begunAt = 0
  #closed = false
  readonly #former = new FormerAgents()
  readonly #pauses = new Pauses()

  private constructor({ name, hub, core, settings, log, flusher, metrics }: NamespaceOptions) {
    this.name = name
    this.hub = hub
    this.core = core
    this.settings = settings
    this.metrics = metrics ?? NO_METRICS
    this.#log = log.child({ namespace: name })
    this.settler = new Settler(name, core)
    this.work = new Work(name, core.queues, (error) => this.onStoreError(error))
    this.broadcasts = new LogReader(name, core.broadcasts)
    this.watchers = new Watchers(name, core.registry, this.replica, (revision) => this.reached(revision))
    this.commit = new GroupCommit(
      name,
      core.sends,
      (high) => this.#onPressure(high),
      // The answers of a batch go out with it instead of a turn later.
      () => flusher.flush(),
    )
    this.#sync = new ReplicaSync({
      namespace: name,
      registry: core.registry,
      replica: this.replica,
      log: this.#log,
      apply: (event) => this.#apply(event),
      onReload: (wentBack, before) => this.#onReload(wentBack, before),
      onError: (error) => this.onStoreError(error),
    })
    this.probes = new Probes(this)
    this.streams = new Streams(this)
    this.reclaims = new Reclaims(this)
    this.#ghosts = new Ghosts(this)
    this.#sweep = new Sweep(this, this.#sessions)
  }

  /** @throws MeshError `store_unavailable` */
  static async open(options: NamespaceOptions): Promise<Namespace> {
    const namespace = new Namespace(options)
    // First the subscription, then the snapshot: what changes in between is told by both.
    namespace.#subscription = await options.core.bus.subscribe(
      options.name,
      options.hub,
      (signal) => onSignal(namespace, signal),
      () => namespace.#onGap(),
    )
    try {
      await namespace.#sync.load()
    } catch (error) {
      await namespace.close()
      throw error
    }
    return namespace
  }

  get closed(): boolean {
    return this.#closed
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values()
  }

  session(agentId: string): Session | undefined {
    return this.#sessions.get(agentId)
  }

  /** The agent's session is here from now on; an older one on this hub is over. */
  add(session: Session): void {
    const old = this.#sessions.get(session.agentId)
    if (old && old.sender.fence > session.sender.fence) return
    this.#sessions.set(session.agentId, session)
    old?.connection.displace()
  }

  /** Why a session that was being opened is over already, as far as this hub knows; null where it is not. */
  endOf(session: Session): CloseReason | null {
    const state = this.replica.get(session.agentId)?.record.state
    if (session.sender.fence < this.#begunAt) return 'hub_failed'
    if (this.#sessions.get(session.agentId) !== session) return 'taken_over'
    if (state?.connected && state.hub !== this.hub) return 'taken_over'
    return state?.connected ? null : 'hub_failed'
  }

  remove(session: Session): void {
    if (this.#sessions.get(session.agentId) === session) this.#sessions.delete(session.agentId)
  }

  /** Somebody is about to use it. */
  touch(): void {
    this.#idleSince = Date.now()
  }

  enter(): void {
    this.#connections++
  }

  exit(): void {
    this.#connections--
    if (this.#connections === 0) this.touch()
  }

  /** Nobody here has used it for `ms`, and nobody is registered for whom time has to be kept. */
  isIdle(now: number, ms: number): boolean {
    return this.#connections === 0 && this.replica.size === 0 && now - this.#idleSince > ms
  }

  /** When an agent was first registered (ms), as this hub knew it before the store lost data, a while ago at most; else null. */
  registeredBefore(agentId: string): number | null {
    return this.#former.get(agentId)?.state.registeredAt ?? null
  }

  /** An agent as this hub knew it before the store lost data, a while ago at most; else null. */
  former(agentId: string): AgentRecord | null {
    return this.#former.get(agentId)
  }

  /** It has unregistered: it does not come back as it was before the store lost data. */
  forgetFormer(agentId: string): void {
    this.#former.forget(agentId)
  }

  /** Resolves when the replica has come to `revision`: what a client was told is done, it can see. */
  reached(revision: number): Promise<void> {
    return this.#sync.reached(revision)
  }

  onEvents(events: readonly RegistryEvent[]): void {
    for (const event of events) this.#sync.take(event)
  }

  /** Reads missing events from the store. Never rejects. */
  catchUp(): Promise<void> {
    return this.#sync.catchUp()
  }

  /** As `catchUp`, with all that the store has when this is asked. Never rejects. */
  refresh(): Promise<void> {
    return this.#sync.refresh()
  }

  #apply(event: RegistryEvent): void {
    const before = this.#capabilitiesOf(event.agent?.id ?? '')
    this.replica.apply(event)
    this.watchers.onEvent(event)
    this.#checkSession(event)
    this.#checkWork(event, before)
    this.streams.onEvent(event)
  }

  /** Whether the session here is still the agent's, by what the registry says of it after the session began. */
  #checkSession({ agent, event, revision }: RegistryEvent): void {
    const session = agent ? this.#sessions.get(agent.id) : undefined
    if (!agent || !session || session.sender.fence >= revision) return
    // Whom time unregistered after this hub was thought dead may register again.
    if (event === 'agent.unregistered') {
      // Its lanes are gone; should the agent register again, their numbers begin anew.
      session.forget()
      session.connection.close(this.reclaims.has(session) ? 'hub_failed' : 'unregistered')
    } else if (!agent.state.connected) void this.reclaims.take(session)
    else if (agent.state.hub !== this.hub) session.connection.displace()
  }

  #capabilitiesOf(agentId: string): readonly string[] {
    return this.replica.get(agentId)?.record.registration.capabilities ?? []
  }

  /** What agents here can do may have changed, or who may take what they lost. `before`: what the agent could do until now. */
  #checkWork({ agent }: RegistryEvent, before: readonly string[]): void {
    if (!agent) return
    this.work.onChance(before)
    const { capabilities, concurrency } = agent.registration
    const worker = this.#sessions.get(agent.id)?.worker
    if (worker) this.work.change(worker, capabilities, concurrency)
    else this.work.onChance(capabilities)
  }

  /** The replica was loaded anew. */
  #onReload(wentBack: boolean, before: ReadonlyMap<string, AgentRecord>): void {
    this.watchers.onReset()
    if (wentBack) {
      this.settler.endEpoch()
      this.#begunAt = this.replica.revision
      this.#former.remember(before)
      const spreadMs = Math.min(RETURN_SPREAD_MS, (this.#sessions.size / RETURNS_PER_SECOND) * 1_000)
      // Numbers are in use here that the store may give again; its agents come back and begin anew.
      for (const session of this.#sessions.values()) {
        session.forget()
        setTimeout(() => session.connection.close('hub_failed'), Math.random() * spreadMs)
      }
      return
    }
    // An agent that the store does not know as being here registers again when it connects again; one that others took for
    // lost is taken back.
    for (const session of this.#sessions.values()) {
      const record = this.replica.get(session.agentId)?.record
      if (record?.state.connected === false) void this.reclaims.take(session)
      else if (record?.state.hub !== this.hub) session.connection.close('hub_failed')
      else this.work.change(session.worker, record.registration.capabilities, record.registration.concurrency)
    }
    this.work.lookAgain()
  }

  /** Signals may have been lost: the store has it all. */
  #onGap(): void {
    void this.catchUp()
    this.streams.onGap()
    for (const session of this.#sessions.values()) this.ask(session)
  }

  /** Asks the store for what the session may have missed. */
  ask(session: Session): void {
    session.delivery.ask()
    this.work.ask(session.worker)
  }

  /** Pushes to those of `agentIds` that are here and read; answers to how many. */
  pushTransient(agentIds: readonly string[], text: string): number {
    let pushed = 0
    for (const agentId of agentIds) {
      const session = this.#sessions.get(agentId)
      // Before its welcome a client is sent nothing.
      if (session?.connection.state !== 'open' || session.connection.outbox.behind) continue
      session.connection.outbox.pushMessage(text)
      if (this.metrics.pushed('transient', 1))
        this.metrics.delivered('transient', 'signal', Math.max(0, Date.now() - (createdAtOf(text) ?? 0)))
      pushed++
    }
    return pushed
  }

  /** An agent of this hub gave a sign of life that is to be told. */
  onHeartbeat(agentId: string, metrics: Readonly<Record<string, number>> | null): void {
    const now = Date.now()
    this.#beat(agentId, metrics, now)
    if (this.#heartbeatsWantedUntil >= now) this.#tellHeartbeat(agentId, now)
  }

  /** An agent without a connection gave a sign of life at `at`. It may give the next one to any hub, so all are told. */
  onBeat(agentId: string, metrics: Readonly<Record<string, number>> | null, at: number): void {
    this.#beat(agentId, metrics, at)
    this.#tellHeartbeat(agentId, at)
  }

  #tellHeartbeat(agentId: string, at: number): void {
    const metrics = this.replica.get(agentId)?.metrics ?? {}
    this.core.bus.publish(this.name, null, { kind: 'heartbeat', agentId, metrics, at, from: this.hub })
  }

  /** Another hub was told of a sign of life at `at`. */
  onBeatElsewhere(agentId: string, metrics: Readonly<Record<string, number>>, at: number): void {
    this.#beat(agentId, metrics, at)
  }

  #beat(agentId: string, metrics: Readonly<Record<string, number>> | null, at: number): void {
    this.replica.get(agentId)?.beat(metrics, at)
    this.watchers.onHeartbeat(agentId, at)
  }

  /** Somebody on another hub watches heartbeats: those here are told, for a while. */
  onHeartbeatsWanted(): void {
    this.#heartbeatsWantedUntil = Date.now() + WANTED_MS
  }

  /** Somebody here watches heartbeats: the other hubs are to tell theirs. */
  wantHeartbeats(): void {
    this.#wantedAt = Date.now()
    this.core.bus.publish(this.name, null, { kind: 'heartbeats_wanted' })
  }

  /** Every second: asks the store for what signals may have lost. */
  sweep(now: number): void {
    if (this.watchers.heartbeatsWanted && now - this.#wantedAt > WANT_AGAIN_MS) this.wantHeartbeats()
    if (!this.core.bus.lossy) return
    this.#former.tidy()
    this.#sweep.step()
    this.#sweeps++
    if (this.#sweeps % QUEUES_EVERY !== 0) return
    this.work.sweep()
    if (this.#connections > 0 || this.replica.size > 0) void this.catchUp()
    this.#ghosts.look().catch((error: unknown) => this.onStoreError(error))
  }

  #onPressure(high: boolean): void {
    if (high) this.#log.warn({}, 'too much waits for the store, reading senders no faster')
    for (const { connection } of this.#sessions.values()) {
      if (high) connection.hold('store')
      else connection.release('store')
    }
  }

  /** A failure that no request tells; the store's absence is told once, where its connection is. */
  onStoreError(error: unknown): void {
    if (error instanceof MeshError && error.code === 'store_unavailable')
      this.#log.debug({ err: error }, 'store unavailable')
    else this.#log.error({ err: error }, 'namespace failed')
  }

  /** Waits, but not beyond the end of this namespace on this hub. */
  pause(ms: number): Promise<void> {
    return this.#pauses.wait(ms)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#sync.close()
    this.#pauses.end()
    this.probes.close()
    await this.work.close()
    this.streams.close()
    await this.settler.close()
    await this.#subscription?.close().catch((error: unknown) => this.onStoreError(error))
  }
}
