import type { LeaderInfo } from '../../protocol/replies.ts'
import type { AgentRecord, RegistryEvent, RegistrySnapshot } from '../core/registry.ts'
import { AgentIndex } from './agent-index.ts'
import type { Filter } from './filter.ts'
import { ReplicaAgent } from './replica-agent.ts'
import { type Place, SortedAgents } from './sorted-agents.ts'

const capabilitiesOf = ({ record }: ReplicaAgent): readonly string[] => record.registration.capabilities
const groupsOf = ({ record }: ReplicaAgent): readonly string[] => record.registration.groups

const isSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((value, index) => value === others[index])

/** Whether an index would have an agent elsewhere after the change from `old` to `next`. */
const moves = ({ registration: old }: AgentRecord, { registration: next }: AgentRecord): boolean =>
  old.name !== next.name || !isSame(old.capabilities, next.capabilities) || !isSame(old.groups, next.groups)

/**
 * This hub's copy of a namespace's registry: what `discover` and `subscribe` are answered from, also while the store is
 * down. It changes by events only, in revision order; whoever applies them keeps the order.
 */
export class Replica {
  #epoch = ''
  #revision = 0
  #leader: LeaderInfo = { agentId: null, term: 0 }
  readonly #agents = new Map<string, ReplicaAgent>()
  readonly #idByName = new Map<string, string>()
  readonly #byCapability = new AgentIndex()
  readonly #byGroup = new AgentIndex()
  #sorted = new SortedAgents()

  /** The store's epoch that it was loaded in. */
  get epoch(): string {
    return this.#epoch
  }

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

  withCapability(capability: string): SortedAgents {
    return this.#byCapability.get(capability)
  }

  inGroup(group: string): SortedAgents {
    return this.#byGroup.get(group)
  }

  load({ epoch, revision, agents, leader, term, beats }: RegistrySnapshot): void {
    const known = new Map(this.#agents)
    this.#agents.clear()
    this.#idByName.clear()
    this.#epoch = epoch
    this.#revision = revision
    this.#leader = { agentId: leader, term }
    for (const record of agents) {
      const agent = known.get(record.id) ?? new ReplicaAgent(record)
      agent.become(record, beats.get(record.id) ?? 0)
      agent.setLeader(record.id === leader)
      this.#agents.set(record.id, agent)
      this.#idByName.set(record.registration.name, record.id)
    }
    const all = [...this.#agents.values()]
    this.#sorted = new SortedAgents(all)
    this.#byCapability.load(all, capabilitiesOf)
    this.#byGroup.load(all, groupsOf)
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
    const { agent: record } = event
    if (!record) return
    const known = this.#agents.get(record.id)
    if (event.event === 'agent.unregistered') {
      if (known) this.#unlink(known)
      return
    }
    const heardAt = record.state.connected ? event.at : 0
    const agent = known ?? new ReplicaAgent(record)
    const isElsewhere = !known || moves(known.record, record)
    if (known && isElsewhere) this.#unlink(known)
    agent.become(record, heardAt)
    agent.setLeader(event.leader === record.id)
    if (isElsewhere) this.#link(agent)
  }

  #link(agent: ReplicaAgent): void {
    const { id, registration } = agent.record
    this.#agents.set(id, agent)
    this.#idByName.set(registration.name, id)
    this.#sorted.add(agent)
    for (const capability of registration.capabilities) this.#byCapability.add(capability, agent)
    for (const group of registration.groups) this.#byGroup.add(group, agent)
  }

  /** Before the agent changes: the indexes look for it where it stands. */
  #unlink(agent: ReplicaAgent): void {
    const { id, registration } = agent.record
    this.#agents.delete(id)
    if (this.#idByName.get(registration.name) === id) this.#idByName.delete(registration.name)
    this.#sorted.delete(agent)
    for (const capability of registration.capabilities) this.#byCapability.delete(capability, agent)
    for (const group of registration.groups) this.#byGroup.delete(group, agent)
  }

  /** Matches in order of name, then id, after `after`, at most `limit`, and whether there are more. */
  find(filter: Filter, after: Place | null, limit: number): { agents: ReplicaAgent[]; more: boolean } {
    return this.#fewest(filter).page(({ record }) => filter.matches(record), after, limit)
  }

  /** The shortest list that has all matches of `filter`. */
  #fewest({ name, capabilities, group }: Filter): SortedAgents {
    if (name !== null) {
      const agent = this.#agents.get(this.#idByName.get(name) ?? '')
      return new SortedAgents(agent ? [agent] : [])
    }
    let fewest = group === null ? this.#sorted : this.inGroup(group)
    for (const capability of capabilities) {
      const agents = this.withCapability(capability)
      if (agents.size < fewest.size) fewest = agents
    }
    return fewest
  }
}
