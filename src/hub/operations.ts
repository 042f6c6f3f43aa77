import type { AgentInfo, AgentStatus } from '../../protocol/agent.ts'
import { show } from '../../protocol/agent.ts'
import { decode } from '../../protocol/codec.ts'
import type { EventPattern, Where } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import type {
  DeadLettersListResult,
  DeadLettersPurgeResult,
  DeadLettersRedriveResult,
  LeaderInfo,
  SendResult,
} from '../../protocol/replies.ts'
import { agentPage } from './agent-pages.ts'
import * as deadLetters from './dead-letter-work.ts'
import { toFilter } from './filter.ts'
import type { Hub } from './hub.ts'
import type { Namespace } from './namespace.ts'
import { operatorSend, type OperatorMessage } from './operator-send.ts'
import { promptly, refreshed } from './promptly.ts'
import type { Reader, Subscription } from './subscription.ts'

/** Namespaces whose agents are counted at once. */
const COUNTING_MAX = 8
const EVERY_STATUS: readonly AgentStatus[] = ['online', 'degraded', 'offline']

/** Which agents, and how many. */
export interface AgentsQuery {
  readonly where: Where
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

export interface AgentsPage {
  readonly agents: readonly AgentInfo[]
  readonly cursor: string | null
  /** Of the registry this page is of. */
  readonly revision: number
  /** All agents of the namespace by status, whether they match or not. */
  readonly counts: Readonly<Record<AgentStatus, number>>
}

export interface LaneInfo {
  readonly entries: number
  /** When the oldest was sent, ISO 8601 UTC; null where there is none. */
  readonly oldestAt: string | null
  readonly oldestAgeMs: number | null
}

export interface InboxInfo {
  readonly agentId: string
  readonly inbox: LaneInfo
  readonly replies: LaneInfo
}

export interface QueueInfo {
  readonly capability: string
  readonly entries: number
  readonly waiting: number
  readonly delayed: number
  readonly inProgress: number
  readonly oldestAt: string | null
  readonly oldestAgeMs: number | null
}

export interface QueuesPage {
  readonly queues: readonly QueueInfo[]
  readonly cursor: string | null
}

export interface HubInfo {
  readonly id: string
  /** Milliseconds until its lease runs out, unless it is renewed. */
  readonly leaseMs: number
  readonly namespaces: readonly string[]
  /** Agents connected to it. */
  readonly agents: number
}

export interface NamespaceInfo {
  readonly name: string
  /** Hubs that serve it. */
  readonly hubs: readonly string[]
}

/** What a watcher asks for. */
export interface WatchRequest {
  readonly events: readonly EventPattern[]
  readonly where: Where
  /** Null: from the list on. */
  readonly since: number | null
}

/** A running watch. */
export interface Watch {
  /** Up to which revision the reader has been told everything; null while it is not known. */
  readonly told: number | null
  /** The reader has room again. */
  pump(): void
  close(): void
}

const isoOf = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString())
// Clocks differ: nothing is younger than now.
const ageOf = (at: number | null): number | null => (at === null ? null : Math.max(0, Date.now() - at))

/**
 * What operators see and do, in any namespace and alike on every hub. Lists are as of when they were asked for, at least; while the store is
 * away agents and leader are told as this hub knows them. All of it rejects with MeshError `store_unavailable` within a few seconds where the
 * store is needed and does not answer.
 */
export class Operations {
  readonly #hub: Hub

  constructor(hub: Hub) {
    this.#hub = hub
  }

  get draining(): boolean {
    return this.#hub.draining
  }

  #open(name: string): Promise<Namespace> {
    return promptly(this.#hub.namespace(name))
  }

  /** The namespace, its registry as it was when this was asked, at least. */
  async #fresh(name: string): Promise<Namespace> {
    return refreshed(await this.#open(name))
  }

  #refuseWhileDraining(): void {
    if (!this.#hub.draining) return
    throw new MeshError('draining', 'this hub is shutting down; ask another one', { retryAfterMs: 0 })
  }

  /** Agents of every status unless `where` names some. @throws MeshError `bad_frame` */
  async agents(name: string, { where, limit, cursor }: AgentsQuery): Promise<AgentsPage> {
    const filter = toFilter(where, EVERY_STATUS)
    const { replica } = await this.#fresh(name)
    const page = agentPage(replica, filter, cursor, limit)
    const counts = { online: 0, degraded: 0, offline: 0 }
    for (const { record } of replica.all()) counts[record.state.status]++
    const agents = page.agents.map(({ info }) => info)
    return { agents, cursor: page.cursor, revision: replica.revision, counts }
  }

  /** @throws MeshError `unknown_target` */
  async agent(name: string, agentId: string): Promise<AgentInfo> {
    const { replica } = await this.#fresh(name)
    const agent = replica.get(agentId)
    if (agent === undefined) throw unknownAgent(name, agentId)
    return agent.info
  }

  /** Unregisters an agent, whoever it is: its connection is closed 4410, what is left for it dead-lettered. @throws MeshError `unknown_target` */
  async unregister(name: string, agentId: string): Promise<void> {
    this.#refuseWhileDraining()
    const namespace = await this.#open(name)
    const leave = { agentId, fence: null, departure: 'unregister' as const, graceMs: 0, marks: null }
    const result = await promptly(this.#hub.core.registry.leave(name, leave))
    namespace.forgetFormer(agentId)
    if (result.outcome !== 'changed') throw unknownAgent(name, agentId)
    namespace.onEvents(result.events)
    await promptly(namespace.reached(result.events.at(-1)?.revision ?? 0))
  }

  /** @throws MeshError as `operatorSend` */
  async send(name: string, message: OperatorMessage): Promise<SendResult> {
    this.#refuseWhileDraining()
    const namespace = await this.#open(name)
    return promptly(operatorSend(this.#hub, namespace, message))
  }

  /** @throws MeshError `unknown_target` */
  async inbox(name: string, agentId: string): Promise<InboxInfo> {
    await this.#open(name)
    const depth = await promptly(this.#hub.core.inboxes.depth(name, agentId))
    if (depth === null) throw unknownAgent(name, agentId)
    const toLane = ({ entries, oldest }: (typeof depth)['inbox']): LaneInfo => {
      const at = oldest === null ? null : sentAt(oldest)
      return { entries, oldestAt: isoOf(at), oldestAgeMs: ageOf(at) }
    }
    return { agentId, inbox: toLane(depth.inbox), replies: toLane(depth.replies) }
  }

  /** @throws MeshError `bad_frame` */
  async deadLetters(name: string, query: deadLetters.DeadLettersQuery): Promise<DeadLettersListResult> {
    const namespace = await this.#open(name)
    const text = await promptly(deadLetters.deadLetterPage(namespace, query))
    return decode(text)[0] as unknown as DeadLettersListResult
  }

  /** However long it takes: there may be many. @throws MeshError `bad_frame` */
  async redrive(name: string, choice: deadLetters.DeadLettersChoice): Promise<DeadLettersRedriveResult> {
    this.#refuseWhileDraining()
    return deadLetters.redriveDeadLetters(await this.#open(name), choice)
  }

  /** However long it takes: there may be many. @throws MeshError `bad_frame` */
  async purge(name: string, choice: deadLetters.DeadLettersChoice): Promise<DeadLettersPurgeResult> {
    this.#refuseWhileDraining()
    return deadLetters.purgeDeadLetters(await this.#open(name), choice)
  }

  /** Queues that have entries, after the one of a capability. */
  async queues(name: string, after: string | null, limit: number): Promise<QueuesPage> {
    await this.#open(name)
    const found = await promptly(this.#hub.core.queues.list(name, after, limit + 1))
    const page = found.slice(0, limit)
    const queues = page.map(({ oldestAt, ...depth }) => ({
      ...depth,
      oldestAt: isoOf(oldestAt),
      oldestAgeMs: ageOf(oldestAt),
    }))
    return { queues, cursor: found.length > limit ? (page.at(-1)?.capability ?? null) : null }
  }

  /** Hubs that live, with their agents of one namespace, or (null) of all; of one namespace only hubs that serve it, and no other one is told. */
  async hubs(name: string | null): Promise<readonly HubInfo[]> {
    const { leases, registry } = this.#hub.core
    const live = (await promptly(leases.live()))
      .filter(({ namespaces }) => name === null || namespaces.includes(name))
      .toSorted((a, b) => (a.hub < b.hub ? -1 : 1))
    const counts = new Map(live.map(({ hub }) => [hub, 0]))
    const names = new Set(name === null ? live.flatMap(({ namespaces }) => namespaces) : [name])
    const left = [...names]
    const count = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        for (const [hub, agents] of await registry.connectedByHub(next)) {
          const before = counts.get(hub)
          if (before !== undefined) counts.set(hub, before + agents)
        }
      }
    }
    await promptly(Promise.all(Array.from({ length: COUNTING_MAX }, count)))
    return live.map(({ hub, leaseMs, namespaces }) => ({
      id: hub,
      leaseMs,
      namespaces: name === null ? namespaces.toSorted() : [name],
      agents: counts.get(hub) ?? 0,
    }))
  }

  async leader(name: string): Promise<LeaderInfo> {
    return (await this.#fresh(name)).replica.leader
  }

  /** Those that a hub serves now: one is served while anybody is registered there, and for a while after somebody asked for it. */
  async namespaces(): Promise<readonly NamespaceInfo[]> {
    const hubsOf = new Map<string, string[]>()
    for (const { hub, namespaces } of await promptly(this.#hub.core.leases.live()))
      for (const name of namespaces) hubsOf.set(name, [...(hubsOf.get(name) ?? []), hub])
    return [...hubsOf]
      .map(([name, hubs]) => ({ name, hubs: hubs.toSorted() }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * List, then watch: frames as a subscription has them.
   * @param onStart called with the fields of the first page, or of an empty one where the reader has the list, before anything is pushed
   * @throws MeshError `bad_frame`, `store_unavailable`
   */
  async watch(
    name: string,
    { events, where, since }: WatchRequest,
    reader: Reader,
    onStart: (fields: string) => void,
  ): Promise<Watch> {
    const filter = toFilter(where, EVERY_STATUS)
    const namespace = await (since === null ? this.#fresh(name) : this.#open(name))
    // Kept open, and up to date, for as long as somebody watches.
    namespace.enter()
    let subscription: Subscription
    try {
      const opening = namespace.watchers.open({ id: 'http', events, filter }, since, reader, onStart)
      subscription = await opening
    } catch (error) {
      namespace.exit()
      throw error
    }
    if (subscription.wants('agent.heartbeat')) namespace.wantHeartbeats()
    let open = true
    return {
      get told() {
        return subscription.told
      },
      pump: () => namespace.watchers.pump(subscription),
      close: () => {
        if (!open) return
        open = false
        namespace.watchers.close(subscription)
        namespace.exit()
      },
    }
  }

  /** Told when no more connections are taken; it may be told twice. */
  onDrain(listener: () => void): void {
    this.#hub.onDrain(listener)
  }

  /** Told when tokens have changed. */
  onTokens(listener: () => void): void {
    this.#hub.onTokens(listener)
  }

  /** A request was answered with an error where its status could not say so. */
  onRefusal({ code }: MeshError): void {
    this.#hub.metrics.failed(code)
  }

  /** A fault of this hub, not of who asked. */
  onFault(error: unknown): void {
    this.#hub.log.error({ err: error }, 'request failed')
  }
}

const unknownAgent = (name: string, agentId: string): MeshError =>
  new MeshError('unknown_target', `no agent ${show(agentId)} in namespace ${show(name)}`)

/** When a stored frame was sent: of a message its `createdAt`, of a receipt its `at`. */
function sentAt(text: string): number | null {
  const [frame] = decode(text)
  const at = Date.parse(String(frame?.createdAt ?? frame?.at))
  return Number.isNaN(at) ? null : at
}
