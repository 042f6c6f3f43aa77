import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import type { Core } from '../../src/core/core.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import type { Destination, Send, Sender } from '../../src/core/sends.ts'
import { CORE_LIMITS, NS, registerRequest, sendOf, toAgent, toAll, toQueue } from '../support/core.ts'
import { connectObserver } from '../support/agent.ts'
import { ask, end, forkModule, told } from '../support/child.ts'
import type { Usage } from '../soak/hub.ts'
import { startRedis } from '../support/redis.ts'

// `npm run cost`: what one agent and one message take of Redis: its memory while it is kept, its CPU for each step.

const AGENTS = 10_000
const MESSAGES = 20_000
const BATCH = 200
/** How long the idle are watched: hubs look after each agent every 30 s. */
const IDLE_MS = 60_000
/** A payload of 256 bytes in the frame of a hub. */
const TEXT = JSON.stringify({
  type: 'message',
  id: 'hodrgl90s1-123456',
  from: 'agent-000001',
  via: 'direct',
  messageType: 'notification',
  payload: 'x'.repeat(254),
  createdAt: new Date().toISOString(),
  attempt: 1,
})

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

await using redis = await startRedis()
const client = new Redis(redis.url)
const limits = { ...CORE_LIMITS, inboxMax: 0, queueMax: 0, broadcastMax: 0 }
const core: Core = await connectRedisCore({ url: redis.url, keyPrefix: 'mesh', limits })

interface Spent {
  readonly cpuUs: number
  readonly bytes: number
}

async function spent(): Promise<Spent> {
  const info = await client.info()
  const field = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1])
  return {
    cpuUs: (field('used_cpu_user_main_thread') + field('used_cpu_sys_main_thread')) * 1e6,
    bytes: field('used_memory_dataset'),
  }
}

/** Does `count` of something, and prints what one of it took. */
async function measure(what: string, count: number, work: () => Promise<unknown>): Promise<void> {
  const before = await spent()
  await work()
  const after = await spent()
  const us = (after.cpuUs - before.cpuUs) / count
  const bytes = (after.bytes - before.bytes) / count
  process.stdout.write(
    `${what.padEnd(52)}${us.toFixed(1).padStart(9)} µs${Math.round(bytes).toString().padStart(9)} bytes\n`,
  )
}

const agents = Array.from({ length: AGENTS }, (_, i) => `agent-${String(i).padStart(6, '0')}`)
const numbers = Array.from({ length: MESSAGES }, (_, i) => i)

async function inParts<Item, Result>(
  items: readonly Item[],
  work: (part: readonly Item[]) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  for (let at = 0; at < items.length; at += BATCH) results.push(await work(items.slice(at, at + BATCH)))
  return results
}

const senders = new Map<string, Sender>()
const register = (id: string): Promise<unknown> =>
  core.registry
    .register(
      NS,
      registerRequest(id, {
        proved: true,
        producer: null,
        fields: { capabilities: [`c${Number(id.slice(6)) % 100}`], leaderEligible: false },
      }),
    )
    .then((result) => {
      if (result.outcome !== 'registered') throw new Error(result.outcome)
      senders.set(id, { agentId: id, fence: result.fence, hub: 'hub-1', producer: null })
    })

process.stdout.write(`${''.padEnd(52)}${'Redis CPU'.padStart(12)}${'kept'.padStart(15)}\n`)
await measure('agent registers (events kept: the last 10,000)', AGENTS, () =>
  inParts(agents, (part) => Promise.all(part.map(register))),
)
await measure('agent connects again', AGENTS, () =>
  inParts(agents, (part) => Promise.all(part.map(register))),
)

const [first = ''] = agents
const send = (i: number, to: Destination, id: string): Send => {
  const sender = senders.get(agents[i % AGENTS] ?? '')
  if (!sender) throw new Error('nobody is registered')
  return { ...sendOf(sender, to, id), text: TEXT.replace('123456', id) }
}
const store = (to: (i: number) => Destination): Promise<unknown> =>
  inParts(numbers, (part) =>
    core.sends.store(
      NS,
      part.map((i) => send(i, to(i), `m${i}`)),
    ),
  )

await measure(`direct message stored, ${BATCH} together, to 1,000 agents`, MESSAGES, () =>
  store((i) => toAgent(agents[i % 1_000] ?? '')),
)
await measure('its acknowledgement, 4,000 together', MESSAGES, () =>
  inParts(agents.slice(0, 1_000), (part) =>
    core.inboxes.settle(
      NS,
      part.map((agentId) => ({
        agentId,
        lane: 'inbox' as const,
        numbers: Array.from({ length: MESSAGES / 1_000 }, (_, i) => i + 1),
      })),
    ),
  ),
)
await measure('message stored in a work queue, among 100 queues', MESSAGES, () =>
  store((i) => toQueue(`c${i % 100}`)),
)
await measure('its claim and acknowledgement, 16 together', MESSAGES, async () => {
  for (let queue = 0; queue < 100; queue++) {
    const agentId = agents[queue] ?? first
    const fence = senders.get(agentId)?.fence ?? 0
    for (;;) {
      const claimant = { agentId, fence, room: 16, concurrency: 1_024 }
      const { tasks } = await core.queues.claim(NS, `c${queue}`, [claimant])
      if (tasks.length === 0) break
      await core.queues.settle(
        NS,
        tasks.map(({ id, claim }) => ({ agentId, id, claim })),
      )
    }
  }
})
await measure('broadcast stored, whatever the number of its readers', MESSAGES, () => store(() => toAll()))
await core.close()

/** CPU of Redis in a second in which nobody does anything, in µs. */
async function idleUs(): Promise<number> {
  const before = await spent()
  const began = performance.now()
  await delay(IDLE_MS)
  const { cpuUs } = await spent()
  return ((cpuUs - before.cpuUs) * 1_000) / (performance.now() - began)
}

/** What a hub takes more of after `work`, in bytes for each of `count`. `idle`: also what those take of Redis that do nothing. */
async function measureHub(
  what: string,
  count: number,
  work: (url: string) => Promise<() => unknown>,
  idle = false,
): Promise<void> {
  const settings = {
    port: 0,
    redisUrl: redis.url,
    logLevel: 'silent',
    handshakesPerSecond: 0,
    addressHandshakesPerSecond: 0,
  }
  const hub = forkModule(file('../soak/hub.ts'), [JSON.stringify(settings)], ['--expose-gc'])
  const { url } = await told<{ url: string }>(hub)
  // A first connection loads what any connection needs.
  await using opener = await connectObserver(url, 'opener')
  await ask<Usage>(hub)
  const alone = idle ? await idleUs() : 0
  const before = await ask<Usage>(hub)
  const undo = await work(url)
  await ask<Usage>(hub)
  const after = await ask<Usage>(hub)
  const each = (unit: 'heapMiB' | 'rssMiB'): string =>
    Math.round(((after[unit] - before[unit]) * 1_048_576) / count).toString()
  process.stdout.write(`${what.padEnd(52)}${each('heapMiB').padStart(12)}${each('rssMiB').padStart(15)}\n`)
  if (idle) {
    const us = (await idleUs()) - alone
    const what = `its Redis CPU a second (the hub's own: ${Math.round(alone)} µs)`
    process.stdout.write(`${what.padEnd(52)}${(us / count).toFixed(2).padStart(9)} µs\n`)
  }
  await undo()
  await opener.cut()
  await end(hub)
}

process.stdout.write(`\n${''.padEnd(52)}${'heap, bytes'.padStart(12)}${'resident'.padStart(15)}\n`)
await measureHub('agent of a namespace that a hub has open', AGENTS, async (url) => {
  const observer = await connectObserver(url, NS)
  return () => observer.cut()
})
const FLEET = 2_000
await measureHub(
  'agent connected to the hub, idle',
  FLEET,
  async (url) => {
    const fleet = forkModule(file('../storm/fleet.ts'), [url, String(FLEET), '0', 'fleet'])
    await told(fleet)
    return () => end(fleet)
  },
  true,
)
client.disconnect()
