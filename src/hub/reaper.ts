import { MeshError } from '../../protocol/errors.ts'
import type { Hub } from './hub.ts'
import type { Lease } from './lease.ts'
import type { Namespace } from './namespace.ts'
import { Silence } from './silence.ts'

/** Agents or entries dealt with in one step. */
const STEP_MAX = 100
/** Looks at a namespace between two that ask sessions for lost signals. */
const SWEEP_EVERY_MS = 1_000
/** How long the store may be away before clients are asked to try another hub, and over how long that is spread. */
const GIVE_UP_MS = 60_000
const GIVE_UP_SPREAD_MS = 10_000
const NAMESPACE_IDLE_MS = 60_000

/**
 * What time does: the grace and the retention of agents, the time to live of messages nobody fetches, the deadlines of work, the leases of hubs.
 * Every hub looks; the store lets each change happen once. Namespaces are looked at side by side: the store may have one and not another.
 */
export class Reaper {
  readonly #hub: Hub
  readonly #lease: Lease
  readonly #timers: NodeJS.Timeout[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #looking = new Set<Namespace>()
  /** Namespaces that the store does not answer for, and since when. */
  readonly #failedSince = new Map<Namespace, number>()
  readonly #silence = new Silence()
  #sweptAt = 0
  #renewing = false
  #told = false

  constructor(hub: Hub, lease: Lease) {
    this.#hub = hub
    this.#lease = lease
  }

  /** @throws MeshError `store_unavailable` */
  async start(): Promise<void> {
    await this.#lease.renew()
    const { graceMs, retentionMs, ackTimeoutMs, hubLeaseMs, httpStaleMs, mxpStaleMs } = this.#hub.settings
    // A tenth of the shortest time to be kept, so that it is kept to a tenth.
    const shortest = Math.min(
      graceMs || 500,
      retentionMs || 10_000,
      ackTimeoutMs || 10_000,
      httpStaleMs,
      mxpStaleMs,
      10_000,
    )
    this.#every(Math.max(20, Math.min(1_000, shortest / 10)), () => this.#look())
    this.#every(hubLeaseMs / 3, () => this.#renew())
  }

  #every(ms: number, work: () => void): void {
    this.#timers.push(setInterval(work, ms))
  }

  #run(work: Promise<void>): void {
    const run = work.finally(() => this.#running.delete(run))
    this.#running.add(run)
  }

  #renew(): void {
    if (this.#renewing) return
    this.#renewing = true
    this.#run(
      this.#renewAndBury()
        .catch((error: unknown) => this.#onError(error))
        .finally(() => {
          this.#renewing = false
        }),
    )
  }

  async #renewAndBury(): Promise<void> {
    await this.#lease.renew()
    this.#told = false
    await this.#lease.bury()
  }

  /** A store that is down is told once, not at every look. */
  #onError(error: unknown): void {
    const expected = error instanceof MeshError && error.code === 'store_unavailable'
    if (!expected) this.#hub.log.error({ err: error }, 'reaper failed')
    else if (!this.#told) this.#hub.log.warn({ err: error }, 'store unavailable')
    if (expected) this.#told = true
  }

  #look(): void {
    const now = Date.now()
    const sweep = now - this.#sweptAt >= SWEEP_EVERY_MS
    if (sweep) this.#sweptAt = now
    for (const namespace of [...this.#hub.namespaces]) {
      // One that takes longer than a look is not looked at twice at once.
      if (this.#looking.has(namespace)) continue
      this.#looking.add(namespace)
      this.#run(this.#lookAt(namespace, now, sweep).finally(() => this.#looking.delete(namespace)))
    }
  }

  async #lookAt(namespace: Namespace, now: number, sweep: boolean): Promise<void> {
    try {
      this.#silence.look(namespace, now, this.#hub.settings.httpStaleMs)
      await this.#expireAgents(namespace)
      await namespace.work.tick()
      if (sweep) {
        const { inboxes } = this.#hub.core
        while ((await inboxes.expireAbsent(namespace.name, STEP_MAX)) >= STEP_MAX && !namespace.closed);
        namespace.sweep(now)
      }
      this.#failedSince.delete(namespace)
      if (namespace.isIdle(now, NAMESPACE_IDLE_MS)) await this.#hub.closeNamespace(namespace)
    } catch (error) {
      this.#silence.interrupt(namespace)
      this.#onError(error)
      if (error instanceof MeshError) this.#onFailed(namespace, now)
    }
  }

  async #expireAgents(namespace: Namespace): Promise<void> {
    const { registry } = this.#hub.core
    const { httpStaleMs, mxpStaleMs } = this.#hub.settings
    while (!namespace.closed) {
      const asked = performance.now()
      const found = await registry.due(namespace.name, STEP_MAX)
      // So long a wait for the store is one that heartbeats had too.
      if (performance.now() - asked > Math.max(httpStaleMs / 4, 1_000)) this.#silence.interrupt(namespace)
      const due = found.filter((agentId) => {
        const state = namespace.replica.get(agentId)?.record.state
        if (state?.door === undefined || state.status === 'offline') return true
        const staleMs = state.door === 'mxp' ? mxpStaleMs : httpStaleMs
        return this.#silence.counts(namespace, Date.now(), staleMs)
      })
      const changes = await Promise.all(due.map((agentId) => registry.expire(namespace.name, agentId)))
      for (const events of changes) namespace.onEvents(events)
      // Where others have done it all, they do the rest too.
      if (found.length < STEP_MAX || changes.every((events) => events.length === 0)) return
    }
  }

  #onFailed(namespace: Namespace, now: number): void {
    if (namespace.closed) {
      this.#failedSince.delete(namespace)
      return
    }
    const since = this.#failedSince.get(namespace) ?? now
    this.#failedSince.set(namespace, since)
    if (now - since < GIVE_UP_MS) return
    this.#failedSince.delete(namespace)
    this.#hub.closeAll(namespace, 'store_unavailable', GIVE_UP_SPREAD_MS)
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#running)
    await this.#lease.end().catch((error: unknown) => this.#onError(error))
  }
}
