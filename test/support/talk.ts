import type { AgentInfo } from '../../protocol/agent.ts'
import type { Message } from '../../protocol/pushes.ts'
import type { DiscoverResult, SendResult, SubscribeResult } from '../../protocol/replies.ts'
import type { HubServer } from '../../src/server.ts'
import { type AgentOptions, connectAgent, connectObserver, type TestAgent, type TestSocket } from './agent.ts'
import { type CoreKind, type Mesh, startMesh } from './hubs.ts'

/** A core, and how many hubs there are: with 2, who talks to each other sits on different ones. */
export const PLACES: readonly (readonly [core: CoreKind, hubs: number])[] = [
  ['memory', 1],
  ['memory', 2],
  ['redis', 1],
  ['redis', 2],
]

type Settings = Parameters<typeof startMesh>[2]
type Wrap = Parameters<typeof startMesh>[3]

/** A mesh with a near and a far end: the same hub where there is one only. */
export interface Span extends Mesh {
  readonly near: HubServer
  readonly far: HubServer
}

export async function startSpan(
  core: CoreKind,
  hubs: number,
  settings: Settings = {},
  wrap: Wrap = null,
): Promise<Span> {
  // A flood is what many tests make.
  const mesh = await startMesh(core, hubs, { ratePerSecond: 0, ...settings }, wrap)
  return { ...mesh, near: mesh.hub(0), far: mesh.hub(hubs - 1) }
}

/** An agent by its id, named `<id>-name`. */
export const join = (
  hub: Parameters<typeof connectAgent>[0],
  id: string,
  options: AgentOptions = {},
): Promise<TestAgent> => connectAgent(hub, { id, name: `${id}-name`, ...options })

/** `{ to: { agent } }` for an id; any other target as it is. */
const toTarget = (to: string | object): object => (typeof to === 'string' ? { agent: to } : to)

export const sendFrame = (to: string | object, payload: unknown, more: object = {}): object => ({
  type: 'send',
  to: toTarget(to),
  messageType: 'notification',
  payload,
  ...more,
})

/** A question to an agent. */
export const queryFrame = (to: string, payload: unknown = 1): object =>
  sendFrame(to, payload, { messageType: 'query' })

/** Whoever can do this work. */
export const NLP = { capability: 'nlp' }

/** An agent that sends and does no work. */
export const asker = { capabilities: ['asking'] }

/** 0 to `count` - 1. */
export const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** Sends, and answers when it is stored. `to`: an agent's id, or a target. */
export function send(
  from: TestSocket,
  to: string | object,
  payload: unknown,
  more: object = {},
): Promise<SendResult> {
  return from.request<SendResult>(sendFrame(to, payload, more))
}

/** Sends one after another without waiting for answers; resolves when all are stored. */
export function sendAll(
  from: TestSocket,
  to: string | object,
  payloads: readonly unknown[],
  more: object = {},
): Promise<SendResult[]> {
  return Promise.all(payloads.map((payload) => send(from, to, payload, more)))
}

/** The code of the error that a send is refused with. */
export async function sendRefused(
  from: TestSocket,
  to: string | object,
  payload: unknown,
  more: object = {},
): Promise<string> {
  return (await from.refusal(sendFrame(to, payload, more))).code
}

/** The next `count` messages, in the order they came. */
export async function receive(agent: TestSocket, count: number): Promise<Message[]> {
  const messages: Message[] = []
  while (messages.length < count) messages.push(await agent.next('message'))
  return messages
}

export const payloadsOf = (messages: readonly Message[]): unknown[] => messages.map(({ payload }) => payload)

/** The payloads of the next `count` messages. */
export async function read(agent: TestSocket, count: number): Promise<unknown[]> {
  return payloadsOf(await receive(agent, count))
}

export function ack(agent: TestSocket, ...messages: readonly Message[]): void {
  agent.send({ type: 'ack', ids: messages.map(({ id }) => id) })
}

export const nack = (agent: TestSocket, { id }: Message, more: object = {}): void =>
  agent.send({ type: 'nack', id, ...more })

let markers = 0

/**
 * The payloads of what `agent` got and nobody asked for, after all that was sent by way of `from`'s hub has had its turn:
 * a transient message goes the same way and needs no room.
 */
export async function pushed(from: TestSocket, agent: TestAgent): Promise<unknown[]> {
  const marker = `marker ${(markers += 1)}`
  await send(from, agent.id, marker, { durability: 'transient' })
  await agent.next('message', ({ payload }) => payload === marker)
  return payloadsOf(agent.waitingOf('message'))
}

/** The same agent with a new connection, proved by its session. */
export function reconnect(
  hub: Parameters<typeof connectAgent>[0],
  agent: TestAgent,
  options: AgentOptions = {},
): Promise<TestAgent> {
  const { agent: info } = agent.welcome
  return connectAgent(hub, { id: agent.id, name: info?.name ?? '', session: agent.session, ...options })
}

/** Closes the connection, and waits until the session is over for `hub` too: all that was acknowledged is settled. */
export async function leave(agent: TestAgent, hub: HubServer): Promise<void> {
  await agent.close()
  await seen(hub, agent.id, ({ connected }) => !connected)
}

export interface DeadEvent {
  readonly messageId: string | null
  readonly agentId: string | null
  readonly reason: string
}

/** Tells of each message that is given up. */
export interface DeadWatch extends AsyncDisposable {
  readonly socket: TestSocket
  next(): Promise<DeadEvent>
}

export async function watchDead(hub: HubServer): Promise<DeadWatch> {
  const socket = await connectObserver(hub)
  await socket.request({ type: 'subscribe', events: ['message.dead_lettered'] })
  return {
    socket,
    async next() {
      const event = await socket.next('event')
      if (event.event !== 'message.dead_lettered') throw new Error(`unexpected ${event.event}`)
      const { messageId, agentId, reason } = event
      return { messageId, agentId, reason }
    },
    [Symbol.asyncDispose]: () => socket.cut(),
  }
}

/** All agents that match, whatever their status, in the order of `discover`. */
export async function discoverAll(socket: TestSocket, where: object = {}): Promise<readonly AgentInfo[]> {
  const everyStatus = { status: ['online', 'degraded', 'offline'], ...where }
  const { agents } = await socket.request<DiscoverResult>({
    type: 'discover',
    where: everyStatus,
    limit: 1000,
  })
  return agents
}

type Page = Pick<SubscribeResult, 'agents' | 'last'>

/** Resolves with the agent as soon as `hub`'s own copy of the registry has it so. */
export async function seen(
  hub: HubServer,
  id: string,
  match: (agent: AgentInfo) => boolean = () => true,
): Promise<AgentInfo> {
  const observer = await connectObserver(hub)
  try {
    let page: Page = await observer.request<Page>({ type: 'subscribe' })
    for (;;) {
      const listed = page.agents.find((agent) => agent.id === id && match(agent))
      if (listed) return listed
      if (page.last) break
      page = await observer.next('snapshot')
    }
    const event = await observer.next(
      'event',
      (one) => 'agent' in one && one.agentId === id && match(one.agent),
    )
    if (!('agent' in event)) throw new Error('unreachable')
    return event.agent
  } finally {
    await observer.cut()
  }
}
