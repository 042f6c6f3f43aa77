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
export interface Mirror {
  readonly agents: ReadonlyMap<string, AgentInfo>
  /** Of the latest change that is in it; null before the first complete list. */
  readonly revision: number | null
  readonly leader: LeaderInfo
  /** Forgets the pages of a list that will not be completed. */
  interrupt(): void
  /** A page of a list came; answers whether the list is complete now, and in force. */
  page(page: Page): boolean
  /** A subscription goes on where the last one ended: nothing to list. */
  continue(leader: LeaderInfo): void
  apply(event: Event): void
}

export function createMirror(): Mirror {
  let agents = new Map<string, AgentInfo>()
  /** Pages of a list that is not complete; the old list stands until then. */
  let loading: Map<string, AgentInfo> | undefined
  let revision: number | null = null
  let leader: LeaderInfo = { agentId: null, term: 0 }

  function mark(isLeader: boolean): void {
    const agent = agents.get(leader.agentId ?? '')
    if (agent) agents.set(agent.id, { ...agent, isLeader })
  }

  /** A change of leader is one event; what it means for two agents' `isLeader` is ours to work out. */
  function lead({ agentId, term }: LeaderInfo): void {
    mark(false)
    leader = { agentId, term }
    mark(true)
  }

  return {
    get agents() {
      return agents
    },
    get revision() {
      return revision
    },
    get leader() {
      return leader
    },
    interrupt() {
      loading = undefined
    },
    page(page) {
      loading ??= new Map()
      for (const agent of page.agents) loading.set(agent.id, agent)
      if (page.last) {
        agents = loading
        loading = undefined
        revision = page.revision
        leader = page.leader
      }
      return page.last
    },
    continue(latest) {
      if (latest.term >= leader.term) lead(latest)
    },
    apply(event) {
      if (revision !== null) revision = Math.max(revision, event.revision)
      if (event.event === 'leader.changed') lead(event)
      else if (event.event === 'message.dead_lettered') return
      else if (event.event === 'agent.unregistered' || ('matches' in event && !event.matches))
        agents.delete(event.agentId)
      else agents.set(event.agentId, event.agent)
    },
  }
}
