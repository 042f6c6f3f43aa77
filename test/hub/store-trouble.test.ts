import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { Flusher } from '../../src/hub/outbox.ts'
import { Ghosts } from '../../src/hub/ghosts.ts'
import { Namespace } from '../../src/hub/namespace.ts'
import { createLog } from '../../src/observability/log.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { type Core, createMemoryCore, startHub } from '../../src/server.ts'
import { connectAgent } from '../support/agent.ts'
import { CORE_LIMITS, join as joinCore, NS } from '../support/core.ts'
import { CORES, startMesh } from '../support/hubs.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { ack, join, read, receive, reconnect, send } from '../support/talk.ts'
import { readiness } from '../support/traffic.ts'

/** What the server holds now is what it comes back with. */
async function saveNow(redis: RedisServer): Promise<void> {
  const client = new Redis(redis.url)
  await client.save()
  client.disconnect()
}

const gone = (): MeshError => new MeshError('store_unavailable', 'the store does not answer')

test('a namespace that could not be opened because the store failed can be opened afterwards', async () => {
  let fails = false
  const wrap = (core: Core): Core => ({
    ...core,
    leases: {
      renew: (hub, namespaces) => (fails ? Promise.reject(gone()) : core.leases.renew(hub, namespaces)),
      live: () => core.leases.live(),
      expired: () => core.leases.expired(),
      isExpired: (hub) => core.leases.isExpired(hub),
      bury: (hub) => core.leases.bury(hub),
      forget: (hub) => core.leases.forget(hub),
    },
  })
  await using mesh = await startMesh('memory', 1, {}, wrap)
  fails = true
  await expect(connectAgent(mesh.hub(0), { namespace: 'new' })).rejects.toMatchObject({
    code: 'store_unavailable',
  })
  fails = false
  await using agent = await connectAgent(mesh.hub(0), { namespace: 'new' })
  expect(agent.welcome.namespace).toBe('new')
})

test('a session that the store does not know any more, while nobody else has the agent, is closed 4000', async () => {
  let forgotten = false
  const wrap = (core: Core): Core => ({
    ...core,
    sends: {
      store: async (namespace, batch) =>
        forgotten ? batch.map(() => ({ outcome: 'fenced' })) : core.sends.store(namespace, batch),
    },
  })
  await using mesh = await startMesh('memory', 1, {}, wrap)
  await using alice = await join(mesh.hub(0), 'alice')
  forgotten = true
  await expect(send(alice, 'alice', 1)).rejects.toMatchObject({ code: 'store_unavailable' })
  expect(await alice.closed).toMatchObject({ code: 4000 })
})

test('an agent without a session on its hub, because the answer to its registration was lost, is ended', async () => {
  const core = createMemoryCore({ limits: CORE_LIMITS })
  const settings = parseSettings({})
  const flusher = new Flusher(settings.maxMessageBytes)
  const log = createLog('silent')
  const namespace = await Namespace.open({ name: NS, hub: 'hub-1', core, settings, log, flusher })
  await joinCore(core, 'ghost')
  await joinCore(core, 'elsewhere', { hub: 'hub-2' })
  const coming = await joinCore(core, 'coming')
  namespace.opening.add(coming.fence)
  await namespace.catchUp()
  const connected = async (): Promise<string[]> => {
    const { agents } = await core.registry.snapshot(NS)
    return agents.filter(({ state }) => state.connected).map(({ id }) => id)
  }
  const ghosts = new Ghosts(namespace)
  await ghosts.look()
  expect(await connected()).toEqual(['ghost', 'elsewhere', 'coming'])
  await ghosts.look()
  expect(await connected()).toEqual(['elsewhere', 'coming'])
  expect(namespace.replica.get('ghost')?.record.state).toMatchObject({ connected: false, status: 'online' })
  await namespace.close()
  flusher.close()
  await core.close()
})

test.each(CORES)(
  'what an agent acknowledged before it was unregistered settles nothing of its next registration, on %s',
  async (core) => {
    let away = false
    const settled: string[] = []
    const wrap = (one: Core, index: number): Core => ({
      ...one,
      inboxes: new Proxy(one.inboxes, {
        get: (target, name) => {
          const method = Reflect.get(target, name) as (...args: unknown[]) => unknown
          if (name !== 'settle' || index !== 0) return method.bind(target)
          return (namespace: string, settlements: readonly { readonly agentId: string }[]) => {
            if (away) return Promise.reject(gone())
            settled.push(...settlements.map(({ agentId }) => agentId))
            return method.call(target, namespace, settlements)
          }
        },
      }),
    })
    await using mesh = await startMesh(core, 2, {}, wrap)
    const store = await mesh.store()
    await using carol = await join(mesh.hub(0), 'carol')
    await using bob = await join(mesh.hub(0), 'bob')
    await send(carol, 'bob', 'old')
    const old = await bob.next('message')
    away = true
    ack(bob, old)
    await bob.roundTrip()
    const leave = { agentId: 'bob', fence: null, departure: 'unregister', graceMs: 0, marks: null } as const
    await store.registry.leave(NS, leave)
    expect(await bob.closed).toMatchObject({ code: 4410 })
    await using back = await join(mesh.hub(1), 'bob')
    await send(carol, 'bob', 'new')
    await back.next('message')
    away = false
    await send(carol, 'carol', 'own')
    ack(carol, await carol.next('message'))
    await expect.poll(() => settled, { timeout: 5_000 }).toContain('carol')
    const { entries } = await store.inboxes.read(NS, 'bob', 'inbox', 0, 10)
    expect(entries.map(({ text }) => (JSON.parse(text) as { payload: unknown }).payload)).toEqual(['new'])
  },
)

describe('a store that comes back older than it was', () => {
  test(
    'costs every session its connection: what is sent afterwards arrives',
    { timeout: 30_000 },
    async () => {
      await using redis = await startRedis()
      await using near = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
      await using far = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
      const alice = await join(near, 'alice')
      const bob = await join(far, 'bob')
      await send(alice, 'bob', 'kept')
      ack(bob, await bob.next('message'))
      await saveNow(redis)
      // What the store will not remember; nothing of the registry changes.
      for (let i = 0; i < 5; i++) {
        await send(alice, 'bob', i)
        await send(alice, { all: true }, i)
        ack(bob, ...(await receive(bob, 2)))
      }
      await redis.restart()
      // Each by its own hub, once that has the store again.
      for (const agent of [alice, bob]) expect(await agent.closed).toMatchObject({ code: 4000 })
      // Each hub finds the server again in its own time.
      for (const hub of [near, far])
        await expect.poll(() => readiness(hub), { timeout: 10_000 }).toMatchObject({ ready: true })
      await using bobBack = await reconnect(far, bob)
      await using other = await join(near, 'other')
      await send(other, 'bob', 'direct')
      await send(other, { all: true }, 'broadcast')
      // Besides those whose acknowledgements the store has forgotten.
      for (const expected of ['direct', 'broadcast'])
        await bobBack.next('message', ({ payload }) => payload === expected)
    },
  )

  test(
    'gives a session of an earlier time none of the later: it is closed 4000',
    { timeout: 30_000 },
    async () => {
      await using redis = await startRedis()
      await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
      const first = await join(hub, 'alice')
      await saveNow(redis)
      const second = await reconnect(hub, first)
      await redis.restart()
      expect(await second.closed).toMatchObject({ code: 4000 })
      await using third = await reconnect(hub, second)
      await send(third, 'alice', 1)
      expect(await read(third, 1)).toEqual([1])
    },
  )
})

test('a long broadcast to many agents of a hub is read from the store once', async () => {
  await using redis = await startRedis()
  const core = await connectRedisCore({ url: redis.url, keyPrefix: 'mesh', limits: CORE_LIMITS })
  let readings = 0
  const counted: Core = {
    ...core,
    broadcasts: {
      open: (...args) => core.broadcasts.open(...args),
      read: (...args) => {
        readings++
        return core.broadcasts.read(...args)
      },
      settle: (...args) => core.broadcasts.settle(...args),
      reject: (...args) => core.broadcasts.reject(...args),
    },
  }
  await using hub = await startHub({ port: 0, logLevel: 'silent', core: counted })
  await using alice = await join(hub, 'alice')
  const agents = await Promise.all(Array.from({ length: 30 }, (_, i) => join(hub, `agent-${i}`)))
  for (const agent of agents) await agent.roundTrip()
  const before = readings
  const long = 'x'.repeat(100_000)
  await send(alice, { all: true }, long)
  for (const agent of agents) expect(await read(agent, 1)).toEqual([long])
  expect(readings - before).toBeLessThanOrEqual(2)
  for (const agent of agents) await agent.cut()
  await alice.cut()
  await hub.close()
  await core.close()
})

describe.each(CORES)(
  'an agent with a window of 1 and more direct messages than it can take, on %s',
  (core) => {
    test('gets a broadcast all the same', async () => {
      await using mesh = await startMesh(core, 1, { ratePerSecond: 0 })
      await using alice = await join(mesh.hub(0), 'alice')
      await using bob = await join(mesh.hub(0), 'bob', { window: 1 })
      await Promise.all(Array.from({ length: 100 }, (_, i) => send(alice, 'bob', i)))
      await send(alice, { all: true }, 'news')
      const before: unknown[] = []
      for (;;) {
        const message = await bob.next('message')
        ack(bob, message)
        if (message.payload === 'news') break
        before.push(message.payload)
      }
      expect(before.length).toBeLessThan(20)
    })
  },
)
