import type { AgentInfo } from '../../protocol/agent.ts'
import type { Event, Snapshot } from '../../protocol/pushes.ts'
import type { LeaderInfo, SubscribeResult, UpdateResult } from '../../protocol/replies.ts'
import type { HubServer } from '../../src/server.ts'
import { connectObserver, type TestAgent, type TestSocket } from './agent.ts'

/** What of an agent has a revision; the rest is only current on its own hub, or is told by `leader.changed`. */
export const lasting = ({ metrics: _m, lastHeartbeat: _l, isLeader: _i, ...info }: AgentInfo): object => info

/** A registry as one subscription tells it: the list, then every event. */
export class Mirror {
  readonly socket: TestSocket
  readonly agents = new Map<string, AgentInfo>()
  /** Revisions of the events that came, in their order. */
  readonly revisions: number[] = []
  /** The registry after each of them, as text. */
  readonly states = new Map<number, string>()
  leader: LeaderInfo = { agentId: null, term: 0 }
  revision = 0
  subscription = ''

  constructor(socket: TestSocket) {
    this.socket = socket
  }

  list({ subscription, revision, agents, leader }: SubscribeResult | Snapshot): void {
    this.subscription = subscription
    this.revision = revision
    this.leader = leader
    for (const agent of agents) this.agents.set(agent.id, agent)
    this.states.set(revision, this.state)
  }

  apply(event: Event): void {
    this.revision = event.revision
    this.revisions.push(event.revision)
    switch (event.event) {
      case 'leader.changed':
        this.leader = { agentId: event.agentId, term: event.term }
        break
      case 'agent.unregistered':
        this.agents.delete(event.agentId)
        break
      case 'agent.registered':
      case 'agent.updated':
      case 'agent.status_changed':
      case 'agent.heartbeat':
        if ('matches' in event) this.agents.delete(event.agentId)
        else this.agents.set(event.agentId, event.agent)
        break
      case 'message.dead_lettered':
    }
    this.states.set(event.revision, this.state)
  }

  get state(): string {
    const agents = [...this.agents.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
    return JSON.stringify([this.leader, agents.map(lasting)])
  }

  /** Reads on until the registry is at `revision`. */
  async reach(revision: number): Promise<void> {
    while (this.revision < revision) this.apply(await this.socket.next('event'))
  }
}

/** The pages of a subscription's list. */
export async function subscribe(socket: TestSocket, frame: object = {}): Promise<Mirror> {
  const mirror = new Mirror(socket)
  let page: SubscribeResult | Snapshot = await socket.request<SubscribeResult>({
    type: 'subscribe',
    ...frame,
  })
  mirror.list(page)
  while (!page.last) {
    page = await socket.next('snapshot')
    mirror.list(page)
  }
  return mirror
}

/** A mirror on a connection of its own. */
export async function mirrorOf(hub: HubServer, frame: object = {}): Promise<Mirror> {
  return subscribe(await connectObserver(hub), frame)
}

/** A subscription's first page. */
export const list = (socket: TestSocket, frame: object = {}): Promise<SubscribeResult> =>
  socket.request<SubscribeResult>({ type: 'subscribe', ...frame })

export const update = async (agent: TestAgent, fields: object): Promise<AgentInfo> =>
  (await agent.request<UpdateResult>({ type: 'update', ...fields })).agent

/** An event in a few words. */
export function brief(event: Event): string {
  if (!('agent' in event)) return event.event
  const change = event.event === 'agent.status_changed' ? ` ${event.old}>${event.new}` : ''
  return `${event.event.slice('agent.'.length)} ${event.agentId}${'matches' in event ? ' gone' : ''}${change}`
}

/** The next `count` events, each in a few words. */
export async function events(socket: TestSocket, count: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < count) found.push(brief(await socket.next('event')))
  return found
}
