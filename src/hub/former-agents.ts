import type { AgentRecord } from '../core/registry.ts'

/** How long those that come back are told from those that are new. */
const REMEMBERED_MS = 60_000

/** The agents that this hub knew before the store lost its data; for a while. */
export class FormerAgents {
  #records: ReadonlyMap<string, AgentRecord> = new Map()
  readonly #left = new Set<string>()
  #until = 0

  remember(records: ReadonlyMap<string, AgentRecord>): void {
    this.#records = records
    this.#left.clear()
    this.#until = Date.now() + REMEMBERED_MS
  }

  get(agentId: string): AgentRecord | null {
    if (Date.now() >= this.#until || this.#left.has(agentId)) return null
    return this.#records.get(agentId) ?? null
  }

  /** It has unregistered since, and does not come back. */
  forget(agentId: string): void {
    this.#left.add(agentId)
  }

  /** Gives the memory back that nobody is told from any more. */
  tidy(): void {
    if (Date.now() < this.#until || this.#records.size === 0) return
    this.#records = new Map()
    this.#left.clear()
  }
}
