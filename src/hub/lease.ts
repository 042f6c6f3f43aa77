import type { Hub } from './hub.ts'

/** Leases that nobody renewed are left alone for so many of their lengths after this hub has come to the store, or back to it. */
const WAIT_LEASES = 2
/** Sessions of a dead hub ended together; after each part it is asked whether that hub is back. */
const PART = 200

/**
 * This hub's lease, which covers all its connections, and the leases of hubs that gave no sign of life: their agents count as lost
 * and have time to appear elsewhere.
 *
 * A hub that could not reach the store for a while finds the leases of all the others run out, because they could not either.
 * So it waits until they had time to renew them.
 */
export class Lease {
  readonly #hub: Hub
  /** Since when the store has answered each renewal in time, by `performance.now()`. */
  #steadySince = 0
  #taken = false

  constructor(hub: Hub) {
    this.#hub = hub
  }

  /**
   * Extends it over the namespaces this hub has open. Where it had lapsed, others may have ended sessions of this hub: it reads what
   * became of them, and takes them back or closes their sockets.
   * @throws MeshError `store_unavailable`
   */
  async renew(): Promise<void> {
    const { id, core, log } = this.#hub
    const namespaces = [...this.#hub.namespaces]
    let lapsed: boolean
    try {
      ;({ lapsed } = await core.leases.renew(
        id,
        namespaces.map(({ name }) => name),
      ))
    } catch (error) {
      this.#steadySince = 0
      throw error
    }
    if (lapsed || this.#steadySince === 0) this.#steadySince = performance.now()
    const first = !this.#taken
    this.#taken = true
    if (first || !lapsed) return
    log.warn({}, 'this hub counted as dead; it takes its agents back')
    for (const namespace of namespaces) void namespace.catchUp()
  }

  /** Ends the sessions of hubs that are dead. @throws MeshError `store_unavailable` */
  async bury(): Promise<void> {
    const { core, id, log, settings } = this.#hub
    const expired = await core.leases.expired()
    if (this.#steadySince === 0) return
    if (performance.now() - this.#steadySince < WAIT_LEASES * settings.hubLeaseMs) return
    for (const { hub, namespaces } of expired) {
      if (hub === id) continue
      log.warn({ deadHub: hub }, 'hub is dead, its agents have time to appear elsewhere')
      // One namespace that cannot be reached must not keep the others waiting; the lease stays until all are dealt with.
      const results = await Promise.allSettled(namespaces.map((name) => this.#loseAgents(hub, name)))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed) throw failed.reason
      await core.leases.bury(hub)
    }
  }

  async #loseAgents(hub: string, namespace: string): Promise<void> {
    const { core, settings } = this.#hub
    const sessions = await core.registry.sessionsOf(namespace, hub)
    for (let at = 0; at < sessions.length; at += PART) {
      if (at > 0 && !(await core.leases.isExpired(hub))) return
      await Promise.all(
        sessions.slice(at, at + PART).map(({ agentId, fence }) =>
          core.registry.leave(namespace, {
            agentId,
            fence,
            departure: 'lost',
            graceMs: settings.hubGraceMs,
            marks: null,
          }),
        ),
      )
    }
  }

  /** The hub goes in order. @throws MeshError `store_unavailable` */
  async end(): Promise<void> {
    await this.#hub.core.leases.forget(this.#hub.id)
  }
}
