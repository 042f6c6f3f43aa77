import type { Registration } from '../../../protocol/agent.ts'
import type { BroadcastEntry } from '../broadcasts.ts'
import type { Signal } from '../bus.ts'
import type { CoreLimits } from '../core.ts'
import type { AgentRecord, AgentState, RegistryEvent, StoredEventKind } from '../registry.ts'
import { MemoryAgent } from './agent.ts'
import type { MemoryBus } from './bus.ts'
import { DeadList } from './dead-list.ts'
import { Endings } from './endings.ts'
import { expiryOf, type StoredEntry } from './lane.ts'
import { InboxBytes } from './inbox-bytes.ts'
import { Members } from './members.ts'
import { NumberedLog } from './numbered-log.ts'
import { Schedule } from './schedule.ts'
import { Work } from './work.ts'
import { Workers } from './workers.ts'

/** What every part of the core is made with. */
export interface MemorySettings {
  readonly limits: CoreLimits
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly bus: MemoryBus
}

/** What the parts of a change have in common: one moment, and the events it has made so far. */
export interface Change {
  readonly at: number
  readonly events: RegistryEvent[]
}

/** One isolated mesh: its agents, its leader, its logs. */
export class Namespace {
  readonly #name: string
  readonly #settings: MemorySettings
  readonly #agents = new Map<string, MemoryAgent>()
  readonly #names = new Map<string, MemoryAgent>()
  readonly #candidates = new Set<MemoryAgent>()
  readonly #beating = new Set<MemoryAgent>()
  readonly members = new Members()
  readonly workers = new Workers()
  readonly events: NumberedLog<RegistryEvent>
  readonly broadcasts: NumberedLog<BroadcastEntry>
  readonly dead: DeadList
  readonly work: Work
  readonly endings: Endings
  readonly inboxBytes: InboxBytes
  /** Agents whose grace or retention period runs. */
  readonly deadlines = new Schedule<MemoryAgent>((agent) => agent.deadline)
  readonly expiries = new Schedule<StoredEntry>(expiryOf)
  #order = 0
  #leader: MemoryAgent | null = null
  #term = 0

  constructor(name: string, settings: MemorySettings) {
    this.#name = name
    this.#settings = settings
    this.events = new NumberedLog(settings.limits.eventsMax)
    this.broadcasts = new NumberedLog(settings.limits.broadcastMax)
    this.dead = new DeadList(settings.limits.deadMax)
    this.work = new Work(settings.limits)
    this.inboxBytes = new InboxBytes(settings.limits.namespaceInboxBytesMax)
    this.endings = new Endings({
      limits: settings.limits,
      agents: this.#agents,
      dead: this.dead,
      work: this.work,
      publish: (hub, signal) => this.publish(hub, signal),
    })
  }

  get agents(): ReadonlyMap<string, MemoryAgent> {
    return this.#agents
  }

  /** Whether nobody is registered and nothing is stored that somebody may still want. */
  get isUnused(): boolean {
    return this.#agents.size === 0 && this.work.isEmpty && this.dead.size === 0
  }

  get revision(): number {
    return this.events.head
  }

  get leader(): string | null {
    return this.#leader?.id ?? null
  }

  get term(): number {
    return this.#term
  }

  holderOf(name: string): MemoryAgent | undefined {
    return this.#names.get(name)
  }

  publish(hub: string | null, signal: Signal): void {
    this.#settings.bus.publish(this.#name, hub, signal)
  }

  begin(): Change {
    return { at: this.#settings.now(), events: [] }
  }

  /** Fixes the revision that the first change will follow, where there was none yet. */
  fixRevision(): void {
    if (this.revision === 0) this.events.begin(this.#nextRevision(this.begin()))
  }

  /** A new agent, online: connected on `hub`, or living by heartbeats. */
  add(
    change: Change,
    id: string,
    registration: Registration,
    whereabouts: Pick<AgentState, 'connected' | 'hub' | 'door' | 'owner'>,
  ): MemoryAgent {
    const state: AgentState = {
      status: 'online',
      statusReason: null,
      ...whereabouts,
      registeredAt: change.at,
      order: ++this.#order,
      revision: this.#nextRevision(change),
    }
    const agent = new MemoryAgent(
      { id, registration, state },
      this.broadcasts.head,
      this.expiries,
      this.inboxBytes,
    )
    this.#agents.set(id, agent)
    this.#index(change, agent, null)
    this.#write(change, 'agent.registered', agent)
    return agent
  }

  /** It holds a connection from now on: its copies of the log stay in its inbox, and it reads the log itself from here on. */
  leaveDoor(agent: MemoryAgent): void {
    const { door, ...state } = agent.record.state
    if (door === undefined) return
    const before = agent.record
    agent.record = { ...before, state }
    this.members.replace(agent.id, before, null)
    this.members.replace(agent.id, null, agent.record)
    this.#beating.delete(agent)
    agent.cursor.settle(this.broadcasts.head, [])
  }

  /** Those that live by heartbeats. */
  get beating(): ReadonlySet<MemoryAgent> {
    return this.#beating
  }

  update(change: Change, agent: MemoryAgent, registration: Registration, state: Partial<AgentState>): void {
    const before = agent.record
    agent.record = {
      id: agent.id,
      registration,
      state: { ...before.state, ...state, revision: this.#nextRevision(change) },
    }
    this.#index(change, agent, before)
    this.#write(change, 'agent.updated', agent)
  }

  /** Nothing happens where it has that status. */
  setStatus(
    change: Change,
    agent: MemoryAgent,
    status: AgentState['status'],
    statusReason: string | null,
  ): void {
    const before = agent.record
    if (before.state.status === status) return
    const state = { ...before.state, status, statusReason, revision: this.#nextRevision(change) }
    agent.record = { ...before, state }
    this.#index(change, agent, before)
    this.#write(change, 'agent.status_changed', agent, before.state.status, status)
  }

  /** Gone: the work it holds is handed on, what is left in its lanes given up for `reason`, with one record for what is left in the log. */
  unregister(change: Change, agent: MemoryAgent, reason: string): void {
    const before = agent.record
    const state = { ...before.state, connected: false, revision: this.#nextRevision(change) }
    agent.record = { ...before, state }
    this.#write(change, 'agent.unregistered', agent)
    this.#agents.delete(agent.id)
    this.#index(change, agent, before)
    this.deadlines.remove(agent)
    this.endings.loseAll(agent, false, change.at)
    for (const lane of [agent.inbox, agent.replies]) {
      for (const entry of lane.clear()) this.endings.giveUpEntry(entry, reason, change.at)
    }
    // Who lives by heartbeats had copies of the log's entries.
    if (agent.record.state.door === undefined) this.#giveUpOwed(agent, reason, change.at)
  }

  /** One record from the first to the last broadcast that the agent was still owed; what was cut off counts, since nobody knows. */
  #giveUpOwed({ id, cursor }: MemoryAgent, reason: string, at: number): void {
    const { head, first } = this.broadcasts
    let from = cursor.upTo + 1 < first ? cursor.upTo + 1 : 0
    let to = from > 0 ? first - 1 : 0
    for (let number = Math.max(cursor.upTo + 1, first); number <= head; number++) {
      const entry = this.broadcasts.at(number)
      if (!entry || cursor.has(number) || !isOwed(entry, id)) continue
      from ||= number
      to = number
    }
    if (from > 0) this.endings.giveUpLog(id, from, to, reason, at)
  }

  /** The last step of every change: a leader where one is needed and somebody qualifies. */
  elect(change: Change): void {
    const former = this.#leader
    if (former !== null && this.#mayLead(former)) return
    let best: MemoryAgent | null = null
    for (const candidate of this.#candidates) {
      if (best === null || isElder(candidate, best)) best = candidate
    }
    if (best === former) return
    this.#leader = best
    if (best !== null) this.#term = this.#nextRevision(change)
    this.#write(change, 'leader.changed', best, former?.id ?? null)
  }

  #nextRevision(change: Change): number {
    return this.revision === 0 ? change.at * 1000 : this.revision + 1
  }

  #mayLead(agent: MemoryAgent): boolean {
    const { registration, state } = agent.record
    return this.#agents.get(agent.id) === agent && registration.leaderEligible && state.status !== 'offline'
  }

  /** Brings every index from the agent's former record (null: there was none) to its present one, if it is registered. */
  #index(change: Change, agent: MemoryAgent, former: AgentRecord | null): void {
    const record = this.#agents.get(agent.id) === agent ? agent.record : null
    const before = former?.registration ?? null
    const after = record?.registration ?? null
    if (before !== null && before.name !== after?.name) this.#names.delete(before.name)
    if (after !== null) this.#names.set(after.name, agent)
    if (record !== null && after?.leaderEligible === true && record.state.status === 'online') {
      this.#candidates.add(agent)
    } else {
      this.#candidates.delete(agent)
    }
    this.members.replace(agent.id, former, record)
    this.workers.replace(former, record)
    if (record?.state.door === undefined) this.#beating.delete(agent)
    else this.#beating.add(agent)
    if (before === after || agent.record.state.door !== undefined) return
    for (const capability of after?.capabilities ?? []) this.work.adopt(capability)
    for (const capability of before?.capabilities ?? []) {
      if (this.members.count('capability', capability) === 0) this.work.orphan(capability, change.at)
    }
  }

  #write(
    change: Change,
    event: StoredEventKind,
    agent: MemoryAgent | null,
    old: string | null = null,
    next: string | null = null,
  ): void {
    const written: RegistryEvent = {
      revision: this.#nextRevision(change),
      event,
      at: change.at,
      agentId: agent?.id ?? null,
      agent: event === 'leader.changed' ? null : (agent?.record ?? null),
      old,
      new: next,
      leader: this.leader,
      term: this.#term,
    }
    this.events.append(written.revision, written)
    change.events.push(written)
    this.publish(null, { kind: 'event', event: written })
  }
}

const isElder = ({ record: { state: a } }: MemoryAgent, { record: { state: b } }: MemoryAgent): boolean =>
  a.registeredAt < b.registeredAt || (a.registeredAt === b.registeredAt && a.order < b.order)

const isOwed = ({ from, echo, recipients }: BroadcastEntry, agentId: string): boolean =>
  recipients === null ? echo || from !== agentId : recipients.includes(agentId)
