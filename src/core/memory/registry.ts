import { isOwnId } from '../../../protocol/agent.ts'
import type {
  AgentRecord,
  BeatRequest,
  BeatResult,
  ChangeResult,
  EnrolRequest,
  EnrolResult,
  EventsSince,
  LeaveRequest,
  LeaveResult,
  ReclaimRequest,
  RegisterRequest,
  RegisterResult,
  Registry,
  RegistryEvent,
  RegistrySnapshot,
  UpdateRequest,
} from '../registry.ts'
import { isOwnedBy, type MemoryAgent } from './agent.ts'
import type { Change, Namespace } from './namespace.ts'
import type { Namespaces } from './namespaces.ts'

const FENCED: ChangeResult = { outcome: 'fenced' }

export class MemoryRegistry implements Registry {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async register(name: string, request: RegisterRequest): Promise<RegisterResult> {
    const namespace = this.#namespaces.open(name)
    const { agentId, registration, hub, producer } = request
    const known = namespace.agents.get(agentId)
    if (known !== undefined && !mayHave(known, request)) return { outcome: 'not_owner' }
    if (known !== undefined && isHeld(known, request)) {
      return { outcome: 'held', hub: known.record.state.connected ? hubOf(known) : null, fence: known.fence }
    }
    const holder = namespace.holderOf(registration.name)
    if (holder !== undefined && holder !== known) {
      const { status } = holder.record.state
      if (status !== 'offline' || isAnothers(holder, request))
        return { outcome: 'name_taken', holder: holder.id }
    }

    if (known === undefined && this.#isFull(namespace, holder)) return { outcome: 'full' }

    const change = namespace.begin()
    const displaced = known === undefined ? null : displace(namespace, known)
    if (holder !== undefined && holder !== known) namespace.unregister(change, holder, 'unregistered')
    const whereabouts = { connected: true, hub, ...ownerOf(known, request) }
    const agent = known ?? namespace.add(change, agentId, registration, whereabouts)
    namespace.leaveDoor(agent)
    if (known !== undefined) {
      namespace.update(change, known, registration, whereabouts)
      if (known.record.state.status === 'offline') namespace.setStatus(change, known, 'online', null)
    }
    agent.fence = agent.record.state.revision
    agent.sessionHash = request.sessionHash
    namespace.deadlines.remove(agent)
    agent.inbox.watch(false)
    agent.replies.watch(false)
    namespace.elect(change)
    if (displaced !== null) {
      namespace.publish(displaced.hub, { kind: 'displaced', agentId, fence: displaced.fence })
    }
    return {
      outcome: 'registered',
      fence: agent.fence,
      events: change.events,
      resumed: known !== undefined,
      displaced,
      producerBase: producer === null ? '' : agent.hear(producer).base,
      pending: agent.inbox.size + agent.replies.size,
      holding: agent.holding.size,
      marks: agent.marks,
    }
  }

  async enrol(name: string, request: EnrolRequest): Promise<EnrolResult> {
    const namespace = this.#namespaces.open(name)
    const { agentId, registration, door, staleMs } = request
    const known = namespace.agents.get(agentId)
    if (known !== undefined && !mayHave(known, request)) return { outcome: 'not_owner' }
    if (known !== undefined && known.record.state.door !== door) return { outcome: 'held' }
    const holder = namespace.holderOf(registration.name)
    if (holder !== undefined && holder !== known) {
      const { status, door: other } = holder.record.state
      if (status !== 'offline' || other !== door || isAnothers(holder, request))
        return { outcome: 'name_taken', holder: holder.id }
    }
    if (known === undefined && this.#isFull(namespace, holder)) return { outcome: 'full' }

    const change = namespace.begin()
    if (holder !== undefined && holder !== known) namespace.unregister(change, holder, 'unregistered')
    const whereabouts = { connected: false, hub: null, door, ...ownerOf(known, request) }
    const agent = known ?? namespace.add(change, agentId, registration, whereabouts)
    if (known !== undefined) {
      namespace.update(change, known, registration, whereabouts)
      if (known.record.state.status === 'offline') namespace.setStatus(change, known, 'online', null)
    }
    agent.fence = agent.record.state.revision
    agent.beatAt = change.at
    agent.inbox.watch(true)
    agent.replies.watch(true)
    this.#schedule(namespace, agent, change.at + staleMs)
    namespace.elect(change)
    return { outcome: 'registered', events: change.events, resumed: known !== undefined }
  }

  /** Whether there is no room for another agent, where `leaving` (if any) makes way for it. */
  #isFull(namespace: Namespace, leaving: MemoryAgent | undefined): boolean {
    const { namespaceAgentsMax } = this.#namespaces.settings.limits
    const agents = namespace.agents.size - (leaving === undefined ? 0 : 1)
    return namespaceAgentsMax > 0 && agents >= namespaceAgentsMax
  }

  async beat(name: string, request: BeatRequest): Promise<BeatResult> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(request.agentId)
    if (namespace === undefined || agent?.record.state.door !== request.door) return { outcome: 'unknown' }
    if (!isOwnedBy(agent, request.owner)) return { outcome: 'not_owner' }
    const change = namespace.begin()
    agent.beatAt = change.at
    this.#schedule(namespace, agent, change.at + request.staleMs)
    const { registration, state } = agent.record
    const reason = request.statusReason == null ? state.statusReason : request.statusReason || null
    const status = request.status ?? (state.status === 'offline' ? 'online' : state.status)
    if (status !== state.status) namespace.setStatus(change, agent, status, reason)
    else if (reason !== state.statusReason) {
      namespace.update(change, agent, registration, { statusReason: reason })
    }
    if (change.events.length > 0) namespace.elect(change)
    return { outcome: 'alive', at: change.at, leader: namespace.leader, events: change.events }
  }

  async update(name: string, request: UpdateRequest): Promise<ChangeResult> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(request.agentId)
    if (namespace === undefined || agent === undefined) return FENCED
    const { registration, state } = agent.record
    if (agent.fence !== request.fence || !state.connected) return FENCED

    const change = namespace.begin()
    const reason = request.statusReason === null ? state.statusReason : request.statusReason || null
    const status = request.status ?? state.status
    const reasonAlone = status === state.status && reason !== state.statusReason
    if (request.registration !== null || reasonAlone) {
      const updated = request.registration ?? registration
      namespace.update(change, agent, updated, reasonAlone ? { statusReason: reason } : {})
    }
    namespace.setStatus(change, agent, status, reason)
    namespace.elect(change)
    return { outcome: 'changed', events: change.events }
  }

  async leave(name: string, request: LeaveRequest): Promise<LeaveResult> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(request.agentId)
    if (namespace === undefined || agent === undefined) return FENCED
    if (request.fence !== null && request.fence !== agent.fence) return FENCED
    if (request.door !== undefined && request.door !== agent.record.state.door) return FENCED
    if (request.door !== undefined && !isOwnedBy(agent, request.owner)) return { outcome: 'not_owner' }

    const change = namespace.begin()
    const { registration, state } = agent.record
    const { departure } = request
    if (departure === 'unregister' || (departure === 'keep' && registration.ephemeral)) {
      namespace.unregister(change, agent, 'unregistered')
    } else {
      if (state.connected) {
        disconnect(namespace, change, agent, request)
        this.#schedule(namespace, agent, change.at + request.graceMs)
      }
      if (departure === 'keep') this.#goOffline(namespace, change, agent, false)
    }
    namespace.elect(change)
    return { outcome: 'changed', events: change.events }
  }

  async reclaim(name: string, { agentId, fence, hub }: ReclaimRequest): Promise<ChangeResult> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (namespace === undefined || agent === undefined || agent.fence !== fence) return FENCED
    if (agent.record.state.connected)
      return hubOf(agent) === hub ? { outcome: 'changed', events: [] } : FENCED

    const change = namespace.begin()
    namespace.deadlines.remove(agent)
    agent.inbox.watch(false)
    agent.replies.watch(false)
    namespace.update(change, agent, agent.record.registration, { connected: true, hub })
    if (agent.record.state.status === 'offline') namespace.setStatus(change, agent, 'online', null)
    namespace.elect(change)
    return { outcome: 'changed', events: change.events }
  }

  async due(name: string, limit: number): Promise<readonly string[]> {
    const deadlines = this.#namespaces.find(name)?.deadlines
    return deadlines?.due(this.#namespaces.settings.now(), limit).map((agent) => agent.id) ?? []
  }

  async expire(name: string, agentId: string): Promise<readonly RegistryEvent[]> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (namespace === undefined || agent === undefined || agent.slot < 0) return []
    const change = namespace.begin()
    if (agent.deadline > change.at) return []
    const { registration, state } = agent.record
    if (state.status === 'offline') namespace.unregister(change, agent, 'retention')
    else if (registration.ephemeral) {
      namespace.endings.loseAll(agent, true, change.at)
      namespace.unregister(change, agent, 'unregistered')
    } else this.#goOffline(namespace, change, agent, true)
    namespace.elect(change)
    return change.events
  }

  async snapshot(name: string): Promise<RegistrySnapshot> {
    const namespace = this.#namespaces.open(name)
    namespace.fixRevision()
    const agents: AgentRecord[] = []
    for (const agent of namespace.agents.values()) agents.push(agent.record)
    const beats = new Map<string, number>()
    for (const { id, beatAt } of namespace.beating) beats.set(id, beatAt)
    return {
      epoch: 'memory',
      revision: namespace.revision,
      agents,
      leader: namespace.leader,
      term: namespace.term,
      beats,
    }
  }

  async since(name: string, revision: number, limit: number): Promise<EventsSince> {
    const events = this.#namespaces.find(name)?.events
    const head = events?.head ?? 0
    if (events === undefined || revision === head) return { events: [], complete: revision === head }
    if (revision > head || revision + 1 < events.first) return { events: [], complete: false }
    return { events: events.after(revision, limit), complete: true }
  }

  async sessionsOf(name: string, hub: string): Promise<readonly { agentId: string; fence: number }[]> {
    const sessions: { agentId: string; fence: number }[] = []
    for (const agent of this.#namespaces.find(name)?.agents.values() ?? []) {
      const { state } = agent.record
      if (state.connected && state.hub === hub) sessions.push({ agentId: agent.id, fence: agent.fence })
    }
    return sessions
  }

  async connectedByHub(name: string): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>()
    for (const { record } of this.#namespaces.find(name)?.agents.values() ?? []) {
      const { connected, hub } = record.state
      if (connected && hub !== null) counts.set(hub, (counts.get(hub) ?? 0) + 1)
    }
    return counts
  }

  /** `failed`: losing the work it holds counts as a failed attempt. */
  #goOffline(namespace: Namespace, change: Change, agent: MemoryAgent, failed: boolean): void {
    if (agent.record.state.status === 'offline') return
    namespace.setStatus(change, agent, 'offline', null)
    namespace.endings.loseAll(agent, failed, change.at)
    const { retentionMs } = this.#namespaces.settings.limits
    if (retentionMs === 0) namespace.deadlines.remove(agent)
    else this.#schedule(namespace, agent, change.at + retentionMs)
  }

  #schedule(namespace: Namespace, agent: MemoryAgent, deadline: number): void {
    namespace.deadlines.remove(agent)
    agent.deadline = deadline
    namespace.deadlines.add(agent)
  }
}

/** Where either is nobody's, ownership is not looked at. */
function isAnothers({ record }: MemoryAgent, request: Pick<RegisterRequest, 'owner'>): boolean {
  const { owner } = record.state
  return owner !== undefined && request.owner != null && owner !== request.owner
}

/** Whether who registers may have an agent: it is not another's, or its id is its own and not that one's. */
function mayHave(agent: MemoryAgent, request: Pick<RegisterRequest, 'owner'>): boolean {
  if (!isAnothers(agent, request)) return true
  return isOwnId(request.owner ?? '', agent.id) && !isOwnId(agent.record.state.owner ?? '', agent.id)
}

/** Whose an agent is from now on. */
function ownerOf(
  known: MemoryAgent | undefined,
  request: Pick<RegisterRequest, 'owner'>,
): { owner?: string } {
  const owner = request.owner ?? known?.record.state.owner ?? null
  return owner === null ? {} : { owner }
}

function isHeld(agent: MemoryAgent, request: RegisterRequest): boolean {
  const { connected, door, status } = agent.record.state
  if (request.proved) return false
  if (!connected) return door !== undefined && status !== 'offline'
  return request.proofHash !== agent.sessionHash && request.silentFence !== agent.fence
}

function hubOf(agent: MemoryAgent): string {
  return agent.record.state.hub ?? ''
}

/** Ends a live session in favour of another one. */
function displace(namespace: Namespace, agent: MemoryAgent): { hub: string; fence: number } | null {
  if (!agent.record.state.connected) return null
  agent.markAllPushed(namespace.broadcasts.head)
  return { hub: hubOf(agent), fence: agent.fence }
}

function disconnect(namespace: Namespace, change: Change, agent: MemoryAgent, { marks }: LeaveRequest): void {
  if (marks === null) agent.markAllPushed(namespace.broadcasts.head)
  else agent.marks = marks
  agent.inbox.watch(true)
  agent.replies.watch(true)
  namespace.update(change, agent, agent.record.registration, { connected: false })
}
