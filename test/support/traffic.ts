import { expect } from 'vitest'
import { type Client, connect, type Watch } from '../../client/node.ts'
import type { Settings } from '../../src/config.ts'
import type { HubServer } from '../../src/server.ts'
import { startHub } from '../../src/server.ts'

/** Sends that may be on their way at a time. */
const OPEN_MAX = 8
const PACE_MS = 3

/** Two hubs on one store, an agent on each that lives through what is done to the store, and messages from one to the other. */
export interface Traffic {
  readonly hubs: readonly [HubServer, HubServer]
  readonly sender: Client
  readonly receiver: Client
  /** The registry as somebody on the sender's hub has watched it all the time. */
  readonly watch: Watch
  /** Numbers that were stored, as the sender was told. */
  readonly stored: readonly number[]
  /** Numbers as they came to the receiver's handler. */
  readonly received: readonly number[]
  /** How often one of the two lost its connection to its hub. */
  readonly disconnections: number
  /** Resolves when `count` more have been sent and have come: the mesh works. */
  flows(count?: number): Promise<void>
  /** Sends no more; resolves when all that is under way has its answer. */
  stop(): Promise<void>
  /** Resolves when all that was stored has come, once each and in order. */
  complete(): Promise<void>
  /** Resolves when both hubs and the watch show the same registry, with both agents in it. */
  agree(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const join = (hub: HubServer, name: string, namespace: string): Promise<Client> =>
  connect({ url: hub.url, id: name, name, namespace, capabilities: ['test'], concurrency: 64 })

/** What of the registry has to be the same everywhere. */
const shown = (
  agents: Iterable<{ readonly id: string; readonly connected: boolean; readonly status: string }>,
) => Array.from(agents, ({ id, connected, status }) => `${id} ${connected} ${status}`).toSorted()

/** Starts hubs, agents and messages, which go on until `stop`. */
export async function startTraffic(settings: Partial<Settings>, namespace = 'default'): Promise<Traffic> {
  const options = { port: 0, logLevel: 'silent' as const, ...settings }
  const hubs = [await startHub(options), await startHub(options)] as const
  const sender = await join(hubs[0], 'sender', namespace)
  const receiver = await join(hubs[1], 'receiver', namespace)
  const watch = sender.watch()
  await watch.ready
  const stored: number[] = []
  const received: number[] = []
  let disconnections = 0
  for (const client of [sender, receiver]) {
    void (async () => {
      for await (const { type } of client.status()) if (type === 'waiting') disconnections += 1
    })()
  }
  receiver.onMessage<number>(({ payload }) => void received.push(payload))
  const open = new Set<Promise<unknown>>()
  let next = 0
  const pace = setInterval(() => {
    if (open.size >= OPEN_MAX) return
    const number = next++
    const sent: Promise<unknown> = sender
      .send('receiver', number)
      // Refused: while the receiver is not registered again, which is an honest answer.
      .then(
        () => stored.push(number),
        () => undefined,
      )
      .finally(() => open.delete(sent))
    open.add(sent)
  }, PACE_MS)
  const poll = { interval: 20, timeout: 30_000 }
  return {
    hubs,
    sender,
    receiver,
    watch,
    stored,
    received,
    get disconnections() {
      return disconnections
    },
    async flows(count = 20) {
      const from = next
      const fresh = (): number => received.filter((number) => number >= from).length
      await expect.poll(fresh, poll).toBeGreaterThanOrEqual(count)
    },
    async stop() {
      clearInterval(pace)
      await Promise.all(open)
    },
    async complete() {
      const missing = (): number[] => {
        const come = new Set(received)
        return stored.filter((number) => !come.has(number))
      }
      await expect.poll(missing, poll).toEqual([])
      expect(received).toEqual([...new Set(received)].toSorted((a, b) => a - b))
    },
    async agree() {
      const both = [`receiver true online`, `sender true online`]
      const views = async (): Promise<string[][]> => {
        const where = { status: ['online', 'degraded', 'offline'] } as const
        const lists = await Promise.all([sender.discover(where), receiver.discover(where)])
        return [...lists.map(({ agents }) => shown(agents)), shown(watch.agents.values())]
      }
      await expect.poll(views, poll).toEqual([both, both, both])
      await expect.poll(() => watch.leader.agentId, poll).not.toBeNull()
    },
    async [Symbol.asyncDispose]() {
      clearInterval(pace)
      watch.close()
      await Promise.all([sender.close(), receiver.close()])
      await Promise.all(hubs.map((hub) => hub.close()))
    },
  }
}

/** The answer to `GET /ready`. */
export async function readiness(hub: HubServer): Promise<{ ready: boolean; reasons: string[] }> {
  const response = await fetch(`${hub.httpUrl}/ready`)
  const body = (await response.json()) as { ready: boolean; reasons: string[] }
  expect(response.status).toBe(body.ready ? 200 : 503)
  return body
}
