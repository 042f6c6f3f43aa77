import { describe, expect, test } from 'vitest'
import { connect, type Client, type ConnectOptions } from '../../client/node.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { startHub } from '../../src/server.ts'
import { connectObserver, openSocket } from '../support/agent.ts'
import { CORE_LIMITS } from '../support/core.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { newStore } from '../support/hubs.ts'
import { join, numbers, read, seen, send } from '../support/talk.ts'
import { freePort } from '../support/redis.ts'

describe('a rolling restart of three hubs under load', () => {
  test('loses nothing, and nothing is handled twice or out of order', { timeout: 90_000 }, async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    const ports = [await freePort(), await freePort(), await freePort()]
    const start = (port: number): ReturnType<typeof startHubProcess> =>
      startHubProcess({ '--port': port, '--redis-url': redisUrl, '--key-prefix': keyPrefix })
    const hubs = await Promise.all(ports.map(start))
    const urls = ports.map((port) => `ws://127.0.0.1:${port}/mesh`)
    /** Client `index` knows all hubs, another one first. */
    const dial = (name: string, index: number, options: Partial<ConnectOptions> = {}): Promise<Client> =>
      connect({
        url: numbers(3).map((i) => urls[(i + index) % 3] ?? ''),
        id: name,
        name,
        capabilities: ['talking'],
        ...options,
      })
    const pairs = 6
    const senders = await Promise.all(numbers(pairs).map((i) => dial(`sender-${i}`, i)))
    const readers = await Promise.all(numbers(pairs).map((i) => dial(`reader-${i}`, i + 1)))
    const workers = await Promise.all(
      numbers(6).map((i) => dial(`worker-${i}`, i, { capabilities: ['work'], concurrency: 4 })),
    )
    const read = readers.map((): unknown[] => [])
    readers.forEach((reader, i) =>
      reader.onMessage('notification', ({ payload }) => void read[i]?.push(payload)),
    )
    const worked: unknown[] = []
    for (const worker of workers) {
      worker.onMessage('task_delegation', async ({ payload }) => {
        // Long enough for some of it to be under way whenever a hub goes.
        await new Promise((resolve) => setTimeout(resolve, 20))
        worked.push(payload)
      })
    }
    const load = { goesOn: true }
    const sent = senders.map(() => 0)
    const given = senders.map(() => 0)
    const sending = Promise.all(
      senders.map(async (sender, i) => {
        while (load.goesOn) {
          const batch = numbers(4).map(() =>
            sender.send(`reader-${i}`, (sent[i] = (sent[i] ?? 0) + 1), { type: 'notification' }),
          )
          const task = `${i} ${(given[i] = (given[i] ?? 0) + 1)}`
          await Promise.all([
            ...batch,
            sender.send({ capability: 'work' }, task, { type: 'task_delegation' }),
          ])
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }),
    )
    for (const [i, hub] of hubs.entries()) {
      expect(await hub.terminate()).toBe(0)
      hubs[i] = await start(ports[i] ?? 0)
    }
    load.goesOn = false
    await sending
    for (let i = 0; i < pairs; i++)
      await expect.poll(() => read[i]?.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(sent[i] ?? 0)
    const tasks = senders.flatMap((_, i) => numbers(given[i] ?? 0).map((n) => `${i} ${n + 1}`))
    await expect.poll(() => worked.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(tasks.length)
    for (let i = 0; i < pairs; i++) expect(read[i]).toEqual(numbers(sent[i] ?? 0).map((n) => n + 1))
    expect(worked.toSorted()).toEqual(tasks.toSorted())
    expect(tasks.length).toBeGreaterThan(100)
    await Promise.all([...senders, ...readers, ...workers].map((client) => client.close()))
    for (const hub of hubs) expect(await hub.terminate()).toBe(0)
  })
})

describe('a hub that is told to end', () => {
  test(
    'takes sends until the time that it named to the client, and gives out no more work',
    { timeout: 20_000 },
    async () => {
      const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
      const store = await connectRedisCore({ url: redisUrl, keyPrefix, limits: CORE_LIMITS })
      await using other = await startHub({ port: 0, logLevel: 'silent', redisUrl, keyPrefix })
      await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl, keyPrefix })
      const agents = await Promise.all(numbers(20).map((i) => join(hub, `agent-${i}`)))
      const drained = hub.drain()
      const late = agents.at(-1)
      if (!late) throw new Error('unreachable')
      const { reconnectAfterMs } = await late.next('goaway')
      expect(reconnectAfterMs).toBeGreaterThan(1_000)
      await send(late, 'agent-18', 'in time')
      expect(await read(agents[18] ?? late, 1)).toEqual(['in time'])
      await send(late, { capability: 'nlp' }, 'work')
      await late.roundTrip()
      expect(late.waitingOf('message')).toEqual([])
      expect(await store.queues.size('default', 'nlp')).toBe(1)
      await using worker = await join(other, 'worker')
      expect(await read(worker, 1)).toEqual(['work'])
      await Promise.all(agents.map((agent) => agent.close()))
      await drained
      await store.close()
    },
  )

  test('gives back work that is being claimed when it begins to drain', { timeout: 20_000 }, async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    const core = await connectRedisCore({ url: redisUrl, keyPrefix, limits: CORE_LIMITS })
    let release: () => void = () => undefined
    let claimed: () => void = () => undefined
    const claiming = new Promise<void>((resolve) => (claimed = resolve))
    const held = new Promise<void>((resolve) => (release = resolve))
    const { queues } = core
    const bound = <Method extends (...args: never[]) => unknown>(method: Method): Method =>
      method.bind(queues) as Method
    const slow = {
      ...core,
      queues: {
        resume: bound(queues.resume),
        held: bound(queues.held),
        extend: bound(queues.extend),
        settle: bound(queues.settle),
        release: bound(queues.release),
        tick: bound(queues.tick),
        size: bound(queues.size),
        backlog: bound(queues.backlog),
        list: bound(queues.list),
        claim: async (...args: Parameters<typeof core.queues.claim>) => {
          const result = await core.queues.claim(...args)
          if (result.tasks.length > 0) {
            claimed()
            await held
          }
          return result
        },
      },
    }
    await using hub = await startHub({ port: 0, logLevel: 'silent', core: slow })
    await using other = await startHub({ port: 0, logLevel: 'silent', redisUrl, keyPrefix })
    await using alice = await join(hub, 'alice')
    await using watcher = await connectObserver(other)
    await using boss = await join(other, 'boss', { capabilities: ['asking'] })
    await send(boss, { capability: 'nlp' }, 'work')
    await claiming
    const drained = hub.drain()
    release()
    await using worker = await join(other, 'worker')
    // Nobody saw it before: this is its first attempt.
    expect(await worker.next('message')).toMatchObject({ payload: 'work', attempt: 1 })
    expect(alice.waitingOf('message')).toEqual([])
    await alice.close()
    await drained
    await watcher.close()
    await hub.close()
    await core.close()
  })

  test('closes who does not leave 4001, and is gone soon after', { timeout: 60_000 }, async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    await using hub = await startHubProcess({ '--redis-url': redisUrl, '--key-prefix': keyPrefix })
    await using stays = await join(hub, 'stays')
    await using greeting = await openSocket(hub)
    await using watcher = await startHub({ port: 0, logLevel: 'silent', redisUrl, keyPrefix })
    const begun = performance.now()
    const ended = hub.terminate()
    await stays.next('goaway')
    await expect(openSocket(hub)).rejects.toThrow('503')
    expect(await stays.closed).toMatchObject({ code: 4001 })
    expect(await greeting.closed).toMatchObject({ code: 4001 })
    expect(await ended).toBe(0)
    expect(performance.now() - begun).toBeLessThan(10_000)
    await seen(watcher, 'stays', ({ connected }) => !connected)
  })
})
