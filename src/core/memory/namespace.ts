import type { Registration } from '../../../protocol/agent.ts'
import type { BroadcastEntry } from '../broadcasts.ts'
import type { Signal } from '../bus.ts'
import type { CoreLimits } from '../core.ts'
import type { DeadLetter } from '../dead-letters.ts'
import type { AgentState, RegistryEvent, StoredEventKind } from '../registry.ts'
import { MemoryAgent } from './agent.ts'
import type { MemoryBus } from './bus.ts'
import { expiryOf, type StoredEntry } from './lane.ts'
import { Members } from './members.ts'
import { NumberedLog } from './numbered-log.ts'
import { Schedule } from './schedule.ts'

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

/** A message given up. */
export interface GivenUp {
  readonly messageId: string | null
  readonly agentId: string
  readonly reason: string
  readonly rejections: number
  readonly text: string
}

const MESSAGE_ID = /^\{"type":"message","id":"([^"]*)"/

/** The id of the message that a stored frame carries. */
export const messageIdOf = (text: string): string | null => MESSAGE_ID.exec(text)?.[1] ?? null

/** One isolated mesh: its agents, its leader, its logs. */
export class Namespace {
  readonly #name: string
  readonly #settings: MemorySettings
  readonly #agents = new Map<string, MemoryAgent>()
  readonly #names = new Map<string, MemoryAgent>()
  readonly #candidates = new Set<MemoryAgent>()
  readonly members = new Members()
  readonly events: NumberedLog<RegistryEvent>
  readonly broadcasts: NumberedLog<BroadcastEntry>
  readonly dead: NumberedLog<DeadLetter>
  /** Agents whose grace or retention period runs. */
  readonly deadlines = new Schedule<MemoryAgent>((agent) => agent.deadline)
  readonly expiries = new Schedule<StoredEntry>(expiryOf)
  #leader: MemoryAgent | null = null
  #term = 0

  constructor(name: string, settings: MemorySettings) {
    this.#name = name
    this.#settings = settings
    this.events = new NumberedLog(settings.limits.eventsMax)
    this.broadcasts = new NumberedLog(settings.limits.broadcastMax)
    this.dead = new NumberedLog(settings.limits.deadMax)
  }

  get agents(): ReadonlyMap<string, MemoryAgent> {
    return this.#agents
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

  /** A new agent, online and connected on `hub`. */
  add(change: Change, id: string, registration: Registration, hub: string): MemoryAgent {
    const state: AgentState = {
      status: 'online',
      statusReason: null,
      connected: true,
      hub,
      registeredAt: change.at,
      revision: this.#nextRevision(change),
    }
    const agent = new MemoryAgent({ id, registration, state }, this.broadcasts.head, this.expiries)
    this.#agents.set(id, agent)
    this.#index(agent, null, registration)
    this.#write(change, 'agent.registered', agent)
    return agent
  }

  update(change: Change, agent: MemoryAgent, registration: Registration, state: Partial<AgentState>): void {
    const before = agent.record
    agent.record = {
      id: agent.id,
      registration,
      state: { ...before.state, ...state, revision: this.#nextRevision(change) },
    }
    this.#index(agent, before.registration, registration)
    this.#write(change, 'agent.updated', agent)
  }

  /** Nothing happens where it has that status. */
  setStatus(
    change: Change,
    agent: MemoryAgent,
    status: AgentState['status'],
    statusReason: string | null,
  ): void {
    const { registration, state: before } = agent.record
    if (before.status === status) return
    const state = { ...before, status, statusReason, revision: this.#nextRevision(change) }
    agent.record = { id: agent.id, registration, state }
    this.#index(agent, registration, registration)
    this.#write(change, 'agent.status_changed', agent, before.status, status)
  }

  /** Gone, with what is left in its lanes given up for `reason`, and one record for what is left in the log. */
  unregister(change: Change, agent: MemoryAgent, reason: string): void {
    const { id, registration, state } = agent.record
    agent.record = {
      id,
      registration,
      state: { ...state, connected: false, revision: this.#nextRevision(change) },
    }
    this.#write(change, 'agent.unregistered', agent)
    this.#agents.delete(id)
    this.#index(agent, registration, null)
    this.deadlines.remove(agent)
    for (const lane of [agent.inbox, agent.replies]) {
      for (const entry of lane.clear()) this.giveUpEntry(entry, reason, change.at)
    }
    this.#giveUpOwed(agent, reason, change.at)
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
    if (from > 0) this.giveUpLog(id, from, to, reason, at)
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

  /** An entry that has left its lane goes to the dead letters. */
  giveUpEntry({ lane, text, rejections }: StoredEntry, reason: string, at: number): void {
    this.giveUp({ messageId: messageIdOf(text), agentId: lane.agentId, reason, rejections, text }, at)
  }

  /** One record for what an agent has not settled of the log between two numbers; none where there is nothing between them. */
  giveUpLog(agentId: string, from: number, to: number, reason: string, at: number): void {
    if (from > to) return
    this.giveUp({ messageId: null, agentId, reason, rejections: 0, text: JSON.stringify({ from, to }) }, at)
  }

  giveUp(letter: GivenUp, at: number): void {
    const number = this.dead.head + 1
    this.dead.append(number, { position: String(number), ...letter, at })
    const { messageId, agentId, reason } = letter
    this.publish(null, { kind: 'dead', messageId, agentId, reason, at })
  }

  #nextRevision(change: Change): number {
    return this.revision === 0 ? change.at * 1000 : this.revision + 1
  }

  #mayLead(agent: MemoryAgent): boolean {
    const { registration, state } = agent.record
    return this.#agents.get(agent.id) === agent && registration.leaderEligible && state.status !== 'offline'
  }

  #index(agent: MemoryAgent, before: Registration | null, after: Registration | null): void {
    if (before !== null && before.name !== after?.name) this.#names.delete(before.name)
    if (after !== null) this.#names.set(after.name, agent)
    this.members.replace(agent.id, before, after)
    if (after?.leaderEligible === true && agent.record.state.status === 'online') this.#candidates.add(agent)
    else this.#candidates.delete(agent)
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

function isElder(a: MemoryAgent, b: MemoryAgent): boolean {
  const difference = a.record.state.registeredAt - b.record.state.registeredAt
  return difference === 0 ? a.id < b.id : difference < 0
}

const isOwed = ({ from, echo, recipients }: BroadcastEntry, agentId: string): boolean =>
  recipients === null ? echo || from !== agentId : recipients.includes(agentId)

/** The namespaces that somebody is in, or was and left something. */
export class Namespaces {
  readonly settings: MemorySettings
  readonly #byName = new Map<string, Namespace>()

  constructor(settings: MemorySettings) {
    this.settings = settings
  }

  find(name: string): Namespace | undefined {
    return this.#byName.get(name)
  }

  /** Made where it was not there yet. */
  open(name: string): Namespace {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const namespace = new Namespace(name, this.settings)
    this.#byName.set(name, namespace)
    return namespace
  }

  /**
   * Forgets a namespace that no hub listens to any more, unless somebody is registered or something is kept for people to
   * look at: whoever may name namespaces must not fill the memory with them. Begun anew its revisions are greater, since
   * they start at the clock.
   */
  release(name: string): void {
    const namespace = this.#byName.get(name)
    if (namespace?.agents.size === 0 && namespace.dead.head === 0) this.#byName.delete(name)
  }
}
