import type { AgentInfo } from '../protocol/agent.ts'
import type { Event } from '../protocol/pushes.ts'
import type { LeaderInfo } from '../protocol/replies.ts'

/** A page of a list as `ok` and `snapshot` carry it. */
export interface Page {
  readonly revision: number
  readonly agents: readonly AgentInfo[]
  readonly last: boolean
  readonly leader: LeaderInfo
}

/** A copy of what a subscription shows of the registry: its list, and every event since applied to it. */
export class Mirror {
  #agents = new Map<string, AgentInfo>()
  /** Pages of a list that is not complete; the old list stands until then. */
  #loading: Map<string, AgentInfo> | null = null
  #revision: number | null = null
  #leader: LeaderInfo = { agentId: null, term: 0 }

  get agents(): ReadonlyMap<string, AgentInfo> {
    return this.#agents
  }

  /** Of the latest change that is in it; null before the first complete list. */
  get revision(): number | null {
    return this.#revision
  }

  get leader(): LeaderInfo {
    return this.#leader
  }

  /** Forgets the pages of a list that will not be completed. */
  interrupt(): void {
    this.#loading = null
  }

  /** A page of a list came; answers whether the list is complete now, and in force. */
  page({ revision, agents, last, leader }: Page): boolean {
    this.#loading ??= new Map()
    for (const agent of agents) this.#loading.set(agent.id, agent)
    if (!last) return false
    this.#agents = this.#loading
    this.#loading = null
    this.#revision = revision
    this.#leader = leader
    return true
  }

  /** A subscription goes on where the last one ended: nothing to list. */
  continue(leader: LeaderInfo): void {
    if (leader.term >= this.#leader.term) this.#lead(leader)
  }

  apply(event: Event): void {
    if (this.#revision !== null && event.revision > this.#revision) this.#revision = event.revision
    switch (event.event) {
      case 'leader.changed':
        this.#lead({ agentId: event.agentId, term: event.term })
        return
      case 'message.dead_lettered':
        return
      case 'agent.unregistered':
        this.#agents.delete(event.agentId)
        return
      case 'agent.status_changed':
        this.#agents.set(event.agentId, event.agent)
        return
      case 'agent.registered':
      case 'agent.updated':
      case 'agent.heartbeat':
        if (event.matches === false) this.#agents.delete(event.agentId)
        else this.#agents.set(event.agentId, event.agent)
    }
  }

  /** A change of leader is one event; what it means for two agents' `isLeader` is ours to work out. */
  #lead(leader: LeaderInfo): void {
    this.#mark(this.#leader.agentId, false)
    this.#leader = leader
    this.#mark(leader.agentId, true)
  }

  #mark(id: string | null, isLeader: boolean): void {
    const agent = id === null ? undefined : this.#agents.get(id)
    if (agent !== undefined && agent.isLeader !== isLeader) this.#agents.set(agent.id, { ...agent, isLeader })
  }
}
