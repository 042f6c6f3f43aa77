import type { EventPattern } from '../../protocol/commands.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { EventKind } from '../../protocol/pushes.ts'
import type { LeaderInfo } from '../../protocol/replies.ts'
import type { RegistryEvent } from '../core/registry.ts'
import type { Filter } from './filter.ts'
import { ReplicaAgent } from './replica-agent.ts'
import type { Replica } from './replica.ts'

const AGENT_EVENTS: readonly EventKind[] = [
  'agent.registered',
  'agent.updated',
  'agent.status_changed',
  'agent.unregistered',
]

/** Events a subscription holds back for a connection that takes no more now; with more the list begins anew. */
const HELD_MAX = 10_000

/** What a subscription needs of its connection. */
export interface Reader {
  push(text: string): void
  readonly behind: boolean
}

export interface SubscriptionRequest {
  readonly id: string
  readonly events: readonly EventPattern[]
  readonly filter: Filter
}

/** A registry event with the agent as it then was; made once for all subscriptions of a namespace. */
export interface SeenEvent {
  readonly event: RegistryEvent
  /** The agent's AgentInfo as JSON; null in `leader.changed`. */
  readonly agentText: string | null
}

/** The agent of an event that comes from the store: as it was at that revision. */
export function toSeen(event: RegistryEvent): SeenEvent {
  if (!event.agent) return { event, agentText: null }
  const agent = new ReplicaAgent(event.agent)
  agent.setLeader(event.leader === event.agent.id)
  return { event, agentText: agent.text }
}

/**
 * List, then watch. The list is sent in pages, as fast as the connection takes them; events that come meanwhile follow
 * it. Which agents the client has is remembered, so that one that stops or begins to match is told as such.
 */
export class Subscription {
  readonly id: string
  readonly #reader: Reader
  readonly #filter: Filter
  readonly #kinds: ReadonlySet<EventKind>
  /** Agents the client knows as matching. */
  #matching = new Set<string>()
  /** Agents of which that is not known: what changed since a revision whose list the client has. */
  #unsure: Set<string> | null = null
  #pages: string[] = []
  #held: SeenEvent[] | null = null
  #heldMax = HELD_MAX
  #revision = 0

  constructor(request: SubscriptionRequest, reader: Reader) {
    this.id = request.id
    this.#reader = reader
    this.#filter = request.filter
    this.#kinds = new Set(
      request.events.flatMap((pattern) => (pattern === 'agent.*' ? AGENT_EVENTS : [pattern])),
    )
  }

  /** Up to which revision its client has been told everything; null while the list is not complete. */
  get told(): number | null {
    return this.#pages.length > 0 ? null : this.#revision
  }

  wants(kind: EventKind): boolean {
    return this.#kinds.has(kind)
  }

  /**
   * Begins with the list of `replica` as it is now. The first page is answered as the fields of a result, the others are
   * pushed as `snapshot` frames.
   */
  list(replica: Replica, reset: boolean): string {
    const pages: string[][] = [[]]
    let bytes = 0
    this.#matching = new Set()
    this.#unsure = null
    this.#revision = replica.revision
    for (const agent of replica.all()) {
      if (!this.#filter.matches(agent.record)) continue
      this.#matching.add(agent.record.id)
      // Characters, not bytes: the limit is there so that pages are not huge, and three bytes a character are not.
      if (bytes > 0 && bytes + agent.text.length > LIMITS.pageBytes) {
        pages.push([])
        bytes = 0
      }
      pages.at(-1)?.push(agent.text)
      bytes += agent.text.length + 1
    }
    const texts = pages.map((page, index) =>
      this.#pageFields(page.join(','), index === pages.length - 1, reset, replica.leader),
    )
    const first = texts.shift() ?? ''
    this.#pages = texts.map((text) => `{"type":"snapshot",${text}}`)
    this.#held = this.#pages.length > 0 ? [] : null
    this.#heldMax = HELD_MAX
    return first
  }

  #pageFields(agents: string, last: boolean, reset: boolean, leader: LeaderInfo): string {
    return `"subscription":${JSON.stringify(this.id)},"revision":${this.#revision},"agents":[${agents}],"last":${last},"reset":${reset},"leader":${JSON.stringify(leader)}`
  }

  /** Sends the list anew, as `snapshot` frames: the events that led here are lost. */
  restart(replica: Replica): void {
    const first = this.list(replica, true)
    this.#reader.push(`{"type":"snapshot",${first}}`)
    this.pump(replica)
  }

  /** Holds events back until `list` or `resume`. */
  hold(): void {
    this.#held = []
  }

  /** The client has the list as of `since`; `events` are those after it, and what was held back continues them. */
  resume(replica: Replica, since: number, events: readonly RegistryEvent[]): string {
    this.#revision = since
    this.#matching = new Set()
    for (const agent of replica.all())
      if (this.#filter.matches(agent.record)) this.#matching.add(agent.record.id)
    this.#held = [...events.map(toSeen), ...(this.#held ?? [])]
    this.#heldMax = this.#held.length + HELD_MAX
    this.#unsure = new Set(this.#held.flatMap(({ event }) => event.agent?.id ?? []))
    for (const id of this.#unsure) this.#matching.delete(id)
    return this.#pageFields('', true, false, replica.leader)
  }

  /** Sends pages while the connection takes them, then what was held back. To be called again when it has room. */
  pump(replica: Replica): void {
    while (this.#pages.length > 0 && !this.#reader.behind) this.#reader.push(this.#pages.shift() ?? '')
    if (this.#pages.length > 0 || this.#held === null) return
    if (this.#held.length > this.#heldMax) {
      this.#held = null
      this.restart(replica)
      return
    }
    let sent = 0
    while (sent < this.#held.length && !this.#reader.behind) {
      const seen = this.#held[sent++]
      if (seen) this.#tell(seen)
    }
    if (sent < this.#held.length) {
      this.#held.splice(0, sent)
      return
    }
    this.#held = null
    this.#unsure = null
  }

  /** The next event of the namespace. */
  take(seen: SeenEvent): void {
    if (this.#held === null && this.#reader.behind) this.#held = []
    if (this.#held === null) this.#tell(seen)
    else if (this.#held.length <= this.#heldMax) this.#held.push(seen)
  }

  #tell(seen: SeenEvent): void {
    const { event } = seen
    if (event.revision <= this.#revision) return
    this.#revision = event.revision
    if (event.event === 'leader.changed') {
      if (this.wants(event.event)) {
        this.#push(
          event,
          `"agentId":${JSON.stringify(event.agentId)},"term":${event.term},"old":${JSON.stringify(event.old)}`,
        )
      }
      return
    }
    this.#takeAgent(event, seen.agentText ?? 'null')
  }

  #takeAgent(event: RegistryEvent, agentText: string): void {
    const { agent } = event
    if (!agent) return
    // Who registers anew was not there before.
    const unsure = (this.#unsure?.delete(agent.id) ?? false) && event.event !== 'agent.registered'
    const matched = this.#matching.has(agent.id) || unsure
    const matches = event.event !== 'agent.unregistered' && this.#filter.matches(agent)
    const fields = `"agentId":${JSON.stringify(agent.id)},"agent":${agentText}`
    if (matches) this.#matching.add(agent.id)
    else this.#matching.delete(agent.id)

    if (event.event === 'agent.unregistered') {
      if (matched && this.wants('agent.unregistered')) this.#push(event, fields)
    } else if (!matches) {
      if (matched && this.#wantsChange(event.event))
        this.#push(event, `${fields},"matches":false`, 'agent.updated')
    } else if (!matched && event.event !== 'agent.registered') {
      if (this.#wantsChange(event.event)) this.#push(event, fields, 'agent.updated')
    } else if (this.wants(event.event)) {
      const change =
        event.event === 'agent.status_changed'
          ? `,"old":${JSON.stringify(event.old)},"new":${JSON.stringify(event.new)}`
          : ''
      this.#push(event, fields + change)
    }
  }

  /** Beginning or ceasing to match is told as `agent.updated` to who asked for that or for the kind that caused it. */
  #wantsChange(kind: EventKind): boolean {
    return this.wants('agent.updated') || this.wants(kind)
  }

  /** An event that is not stored; it carries the current revision. */
  takeUnstored(
    kind: 'agent.heartbeat' | 'message.dead_lettered',
    agent: ReplicaAgent | null,
    at: number,
    fields: string,
    revision: number,
  ): void {
    if (!this.wants(kind)) return
    if (agent && !this.#filter.matches(agent.record)) return
    this.#reader.push(this.#frame(kind, revision, at, fields))
  }

  #push(event: RegistryEvent, fields: string, kind: EventKind = event.event): void {
    this.#reader.push(this.#frame(kind, event.revision, event.at, fields))
  }

  #frame(kind: EventKind, revision: number, at: number, fields: string): string {
    return `{"type":"event","subscription":${JSON.stringify(this.id)},"revision":${revision},"event":"${kind}","at":"${new Date(at).toISOString()}",${fields}}`
  }
}
