import { MeshError } from '../../protocol/errors.ts'
import type { Hub } from './hub.ts'
import type { Namespace } from './namespace.ts'

/** Agents or entries dealt with in one look. */
const LOOK_MAX = 100
/** Looks at a namespace between two that ask sessions for lost signals. */
const SWEEP_EVERY_MS = 1_000
/** How long the store may be away before clients are asked to try another hub, and over how long that is spread. */
const GIVE_UP_MS = 60_000
const GIVE_UP_SPREAD_MS = 10_000
const NAMESPACE_IDLE_MS = 60_000

/**
 * What time does: the grace and the retention of agents, the time to live of messages nobody fetches, the deadlines of work, the leases of hubs.
 * Every hub looks; the store lets each change happen once.
 */
export class Reaper {
  readonly #hub: Hub
  readonly #timers: NodeJS.Timeout[] = []
  readonly #running = new Set<Promise<void>>()
  #sweptAt = 0
  #failed = false
  #failedSince = 0

  constructor(hub: Hub) {
    this.#hub = hub
  }

  async start(): Promise<void> {
    await this.renew()
    const { graceMs, retentionMs, ackTimeoutMs, hubLeaseMs } = this.#hub.settings
    // A tenth of the shortest time to be kept, so that it is kept to a tenth.
    const shortest = Math.min(graceMs || 500, retentionMs || 10_000, ackTimeoutMs || 10_000, 10_000)
    this.#every(Math.max(20, Math.min(1_000, shortest / 10)), () => this.#look())
    this.#every(hubLeaseMs / 3, () => this.#renewAndBury())
  }

  #every(ms: number, work: () => Promise<void>): void {
    let busy = false
    const timer = setInterval(() => {
      if (busy) return
      busy = true
      const run = work()
        .then(
          () => {
            this.#failed = false
            this.#failedSince = 0
          },
          (error: unknown) => this.#onError(error),
        )
        .finally(() => {
          busy = false
          this.#running.delete(run)
        })
      this.#running.add(run)
    }, ms)
    this.#timers.push(timer)
  }

  /** A store that is down is told once, not at every look. */
  #onError(error: unknown): void {
    const expected = error instanceof MeshError && error.code === 'store_unavailable'
    if (!expected) this.#hub.log.error({ err: error }, 'reaper failed')
    else if (!this.#failed) this.#hub.log.warn({ err: error }, 'store unavailable')
    this.#failed = true
    if (!expected) return
    const now = Date.now()
    if (this.#failedSince === 0) this.#failedSince = now
    if (now - this.#failedSince < GIVE_UP_MS) return
    this.#failedSince = 0
    this.#hub.closeAll('store_unavailable', GIVE_UP_SPREAD_MS)
  }

  async #look(): Promise<void> {
    const now = Date.now()
    const sweep = now - this.#sweptAt >= SWEEP_EVERY_MS
    if (sweep) this.#sweptAt = now
    const namespaces = [...this.#hub.namespaces]
    const failures: unknown[] = []
    for (const namespace of namespaces) {
      try {
        await this.#lookAt(namespace)
        if (sweep) await this.#hub.core.inboxes.expireAbsent(namespace.name, LOOK_MAX)
      } catch (error) {
        // Each may be on another node of a Cluster.
        failures.push(error)
        namespace.onStoreError(error)
      }
      if (sweep) namespace.sweep(now)
      if (namespace.isIdle(now, NAMESPACE_IDLE_MS)) await this.#hub.closeNamespace(namespace)
    }
    if (failures.length > 0 && failures.length === namespaces.length) throw failures[0]
  }

  async #lookAt(namespace: Namespace): Promise<void> {
    const { registry } = this.#hub.core
    for (const agentId of await registry.due(namespace.name, LOOK_MAX)) {
      namespace.onEvents(await registry.expire(namespace.name, agentId))
    }
    await namespace.work.tick()
  }

  /** Extends this hub's lease over the namespaces it has open. @throws MeshError `store_unavailable` */
  async renew(): Promise<void> {
    const { id, core, namespaces } = this.#hub
    await core.leases.renew(
      id,
      [...namespaces].map(({ name }) => name),
    )
  }

  async #renewAndBury(): Promise<void> {
    await this.renew()
    for (const { hub, namespaces } of await this.#hub.core.leases.expired()) {
      if (hub === this.#hub.id) continue
      this.#hub.log.warn({ deadHub: hub }, 'hub is dead, its agents have time to appear elsewhere')
      for (const name of namespaces) await this.#loseAgents(hub, name)
      await this.#hub.core.leases.forget(hub)
    }
  }

  async #loseAgents(hub: string, namespace: string): Promise<void> {
    const { core, settings } = this.#hub
    for (const { agentId, fence } of await core.registry.sessionsOf(namespace, hub)) {
      await core.registry.leave(namespace, {
        agentId,
        fence,
        departure: 'lost',
        graceMs: settings.hubGraceMs,
        marks: null,
      })
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#running)
    await this.#hub.core.leases.forget(this.#hub.id).catch((error: unknown) => this.#onError(error))
  }
}
