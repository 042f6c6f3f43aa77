import type { Namespace } from './namespace.ts'

/**
 * Agents that the registry has as connected to this hub and that have no session here: the answer to their registration was
 * lost and their client has gone, or the store came back older than it was. Nobody else would ever end them.
 */
export class Ghosts {
  readonly #namespace: Namespace
  /** Seen at the last look: agent → revision. */
  #seen = new Map<string, number>()

  constructor(namespace: Namespace) {
    this.#namespace = namespace
  }

  /** Ends those that were there at the last look too: one that is just coming or going needs some time. */
  async look(): Promise<void> {
    const { name, hub, core, settings, replica } = this.#namespace
    const seen = new Map<string, number>()
    for (const { record } of replica.all()) {
      const { connected, hub: at, revision } = record.state
      if (connected && at === hub && !this.#namespace.session(record.id)) seen.set(record.id, revision)
    }
    const still = new Set(
      [...seen].filter(([id, revision]) => this.#seen.get(id) === revision).map(([id]) => id),
    )
    this.#seen = seen
    if (still.size === 0) return
    for (const { agentId, fence } of await core.registry.sessionsOf(name, hub)) {
      if (!still.has(agentId) || this.#namespace.session(agentId) || this.#namespace.opening.has(fence))
        continue
      const departure = { departure: 'lost', graceMs: settings.graceMs, marks: null } as const
      const result = await core.registry.leave(name, { agentId, fence, ...departure })
      if (result.outcome === 'changed') this.#namespace.onEvents(result.events)
    }
  }
}
