import type { AgentInfo } from '../../protocol/agent.ts'
import type { LeaderInfo } from '../../protocol/replies.ts'
import type { AgentRecord, RegistryEvent, RegistrySnapshot } from '../core/registry.ts'
import type { Filter } from './filter.ts'
import { MultiMap } from './multi-map.ts'

/** An agent as this hub knows it. */
export class ReplicaAgent {
  readonly record: AgentRecord
  #metrics: Readonly<Record<string, number>>
  #lastHeartbeatAt: number
  #text: string | null = null
  #isLeader: boolean

  constructor(
    record: AgentRecord,
    metrics: Readonly<Record<string, number>>,
    lastHeartbeatAt: number,
    isLeader: boolean,
  ) {
    this.record = record
    this.#metrics = metrics
    this.#lastHeartbeatAt = lastHeartbeatAt
    this.#isLeader = isLeader
  }

  get metrics(): Readonly<Record<string, number>> {
    return this.#metrics
  }

  get lastHeartbeatAt(): number {
    return this.#lastHeartbeatAt
  }

  beat(metrics: Readonly<Record<string, number>> | null, at: number): void {
    if (metrics) this.#metrics = metrics
    this.#lastHeartbeatAt = at
    this.#text = null
  }

  setLeader(isLeader: boolean): void {
    this.#isLeader = isLeader
    this.#text = null
  }

  get info(): AgentInfo {
    const { id, registration, state } = this.record
    return {
      id,
      name: registration.name,
      capabilities: registration.capabilities,
      version: registration.version,
      profiles: registration.profiles,
      groups: registration.groups,
      address: registration.address,
      metadata: registration.metadata,
      concurrency: registration.concurrency,
      status: state.status,
      statusReason: state.statusReason,
      connected: state.connected,
      metrics: this.#metrics,
      isLeader: this.#isLeader,
      transport: registration.transport,
      hub: state.hub,
      registeredAt: new Date(state.registeredAt).toISOString(),
      lastHeartbeat: new Date(this.#lastHeartbeatAt).toISOString(),
      revision: state.revision,
    }
  }

  /** `info` as JSON, kept until something changes: lists of thousands are built from it. */
  get text(): string {
    this.#text ??= JSON.stringify(this.info)
    return this.#text
  }
}

/** By name, then id: the order of `discover`. */
const before = (a: AgentRecord, name: string, id: string): boolean =>
  a.registration.name < name || (a.registration.name === name && a.id < id)

const precedes = (a: ReplicaAgent, b: ReplicaAgent): boolean =>
  before(a.record, b.record.registration.name, b.record.id)

interface Place {
  readonly name: string
  readonly id: string
}

const follows = (record: AgentRecord, after: Place | null): boolean =>
  after === null ||
  (!before(record, after.name, after.id) &&
    !(record.registration.name === after.name && record.id === after.id))

/**
 * This hub's copy of a namespace's registry: what `discover` and `subscribe` are answered from, also while the store is
 * down. It changes by events only, in revision order; whoever applies them keeps the order.
 */
export class Replica {
  #revision = 0
  #leader: LeaderInfo = { agentId: null, term: 0 }
  readonly #agents = new Map<string, ReplicaAgent>()
  readonly #idByName = new Map<string, string>()
  readonly #byCapability = new MultiMap()
  readonly #byGroup = new MultiMap()
  #sorted: ReplicaAgent[] = []

  get revision(): number {
    return this.#revision
  }

  get leader(): LeaderInfo {
    return this.#leader
  }

  get size(): number {
    return this.#agents.size
  }

  get(agentId: string): ReplicaAgent | undefined {
    return this.#agents.get(agentId)
  }

  idOf(name: string): string | undefined {
    return this.#idByName.get(name)
  }

  all(): IterableIterator<ReplicaAgent> {
    return this.#agents.values()
  }

  withCapability(capability: string): ReadonlySet<string> {
    return this.#byCapability.get(capability)
  }

  inGroup(group: string): ReadonlySet<string> {
    return this.#byGroup.get(group)
  }

  load({ revision, agents, leader, term }: RegistrySnapshot): void {
    const known = new Map(this.#agents)
    this.#agents.clear()
    this.#idByName.clear()
    this.#byCapability.clear()
    this.#byGroup.clear()
    this.#revision = revision
    this.#leader = { agentId: leader, term }
    for (const record of agents)
      this.#link(this.#toAgent(record, known.get(record.id), record.id === leader, 0))
    this.#sorted = [...this.#agents.values()].toSorted((a, b) => (precedes(a, b) ? -1 : 1))
  }

  /** Takes the next event; its revision is one above `revision`. */
  apply(event: RegistryEvent): void {
    this.#revision = event.revision
    if (event.event === 'leader.changed') {
      this.#leader = { agentId: event.leader, term: event.term }
      if (event.old !== null) this.#agents.get(event.old)?.setLeader(false)
      if (event.leader !== null) this.#agents.get(event.leader)?.setLeader(true)
      return
    }
    const { agent } = event
    if (!agent) return
    const known = this.#agents.get(agent.id)
    if (known) this.#unlink(known)
    if (event.event === 'agent.unregistered') {
      if (known) this.#sorted.splice(this.#place(known.record.registration.name, agent.id), 1)
      return
    }
    const next = this.#toAgent(agent, known, event.leader === agent.id, agent.state.connected ? event.at : 0)
    this.#link(next)
    if (known?.record.registration.name === agent.registration.name) {
      this.#sorted[this.#place(agent.registration.name, agent.id)] = next
    } else {
      if (known) this.#sorted.splice(this.#place(known.record.registration.name, agent.id), 1)
      this.#sorted.splice(this.#place(agent.registration.name, agent.id), 0, next)
    }
  }

  #toAgent(
    record: AgentRecord,
    known: ReplicaAgent | undefined,
    isLeader: boolean,
    heardAt: number,
  ): ReplicaAgent {
    // Metrics belong to a session; a registration anew begins without them.
    const metrics = record.state.connected ? (known?.metrics ?? {}) : {}
    return new ReplicaAgent(
      record,
      metrics,
      Math.max(known?.lastHeartbeatAt ?? 0, record.state.registeredAt, heardAt),
      isLeader,
    )
  }

  #link(agent: ReplicaAgent): void {
    const { id, registration } = agent.record
    this.#agents.set(id, agent)
    this.#idByName.set(registration.name, id)
    for (const capability of registration.capabilities) this.#byCapability.add(capability, id)
    for (const group of registration.groups) this.#byGroup.add(group, id)
  }

  #unlink({ record: { id, registration } }: ReplicaAgent): void {
    this.#agents.delete(id)
    if (this.#idByName.get(registration.name) === id) this.#idByName.delete(registration.name)
    for (const capability of registration.capabilities) this.#byCapability.delete(capability, id)
    for (const group of registration.groups) this.#byGroup.delete(group, id)
  }

  /** Where (name, id) is or belongs in the sorted list. */
  #place(name: string, id: string): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const agent = this.#sorted[middle]
      if (agent && before(agent.record, name, id)) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Matches in order of name, then id, after `after`, at most `limit` and one more to tell whether there are more. */
  find(filter: Filter, after: Place | null, limit: number): { agents: ReplicaAgent[]; more: boolean } {
    const few = this.#candidates(filter)
    if (few) {
      const found = few.filter(({ record }) => follows(record, after) && filter.matches(record))
      found.sort((a, b) => (precedes(a, b) ? -1 : 1))
      return { agents: found.slice(0, limit), more: found.length > limit }
    }
    const found: ReplicaAgent[] = []
    for (let i = after === null ? 0 : this.#place(after.name, after.id); i < this.#sorted.length; i++) {
      const agent = this.#sorted[i]
      if (!agent || !filter.matches(agent.record) || !follows(agent.record, after)) continue
      if (found.length === limit) return { agents: found, more: true }
      found.push(agent)
    }
    return { agents: found, more: false }
  }

  /** The agents an index leaves, where they are so few that sorting them is cheaper than walking the sorted list. */
  #candidates(filter: Filter): ReplicaAgent[] | null {
    if (filter.name !== null) {
      const agent = this.#agents.get(this.#idByName.get(filter.name) ?? '')
      return agent ? [agent] : []
    }
    const sets = filter.capabilities.map((capability) => this.withCapability(capability))
    if (filter.group !== null) sets.push(this.inGroup(filter.group))
    const [smallest] = sets.toSorted((a, b) => a.size - b.size)
    if (!smallest || smallest.size * 16 > this.#sorted.length) return null
    return [...smallest].flatMap((id) => this.#agents.get(id) ?? [])
  }
}
