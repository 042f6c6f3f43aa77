import type { ReplicaAgent } from './replica-agent.ts'
import { SortedAgents } from './sorted-agents.ts'

const NONE = new SortedAgents()

/** Agents by a key, each key's in the order of `discover`; a key without agents takes no memory. */
export class AgentIndex {
  #agentsByKey = new Map<string, SortedAgents>()

  get(key: string): SortedAgents {
    return this.#agentsByKey.get(key) ?? NONE
  }

  add(key: string, agent: ReplicaAgent): void {
    const agents = this.#agentsByKey.get(key)
    if (agents) agents.add(agent)
    else this.#agentsByKey.set(key, new SortedAgents([agent]))
  }

  delete(key: string, agent: ReplicaAgent): void {
    const agents = this.#agentsByKey.get(key)
    agents?.delete(agent)
    if (agents?.size === 0) this.#agentsByKey.delete(key)
  }

  /** Replaces everything; `keysOf` names each agent's keys. */
  load(agents: Iterable<ReplicaAgent>, keysOf: (agent: ReplicaAgent) => readonly string[]): void {
    const listsByKey = new Map<string, Set<ReplicaAgent>>()
    for (const agent of agents) {
      for (const key of keysOf(agent)) {
        const list = listsByKey.get(key)
        if (list) list.add(agent)
        else listsByKey.set(key, new Set([agent]))
      }
    }
    this.#agentsByKey = new Map([...listsByKey].map(([key, list]) => [key, new SortedAgents(list)]))
  }
}
