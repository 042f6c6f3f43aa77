import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import type { Core } from '../../src/core/core.ts'
import { startHub, type HubServer } from '../../src/server.ts'
import { connectObserver, type TestSocket } from '../support/agent.ts'
import { CORE_LIMITS, NEVER_MS, registerRequest } from '../support/core.ts'
import { startHubProcess, type HubProcess } from '../support/hub-process.ts'
import { newStore } from '../support/hubs.ts'
import { redisOfFile } from '../support/redis-of-file.ts'
import { ack, join, read, receive, reconnect, send, sendFrame } from '../support/talk.ts'

const LEASE_MS = 800

interface Pair extends AsyncDisposable {
  /** A process of its own, which can be stopped. */
  readonly doomed: HubProcess
  readonly hub: HubServer
  readonly store: Core
  /** Hears every event by way of `hub`. */
  readonly watcher: TestSocket
}

/** Two hubs on one Redis. */
async function startPair(hubGraceMs: number): Promise<Pair> {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const doomed = await startHubProcess({
    '--redis-url': redisUrl,
    '--key-prefix': keyPrefix,
    '--hub-lease-ms': LEASE_MS,
    '--hub-grace-ms': hubGraceMs,
  })
  const hub = await startHub({
    port: 0,
    logLevel: 'silent',
    redisUrl,
    keyPrefix,
    hubLeaseMs: LEASE_MS,
    hubGraceMs,
  })
  const store = await connectRedisCore({ url: redisUrl, keyPrefix, limits: CORE_LIMITS })
  const watcher = await connectObserver(hub)
  await watcher.request({ type: 'subscribe' })
  return {
    doomed,
    hub,
    store,
    watcher,
    async [Symbol.asyncDispose]() {
      doomed.resume()
      await doomed.kill()
      await watcher.cut()
      await hub.close()
      await store.close()
    },
  }
}

const connection = (watcher: TestSocket, id: string, connected: boolean): Promise<unknown> =>
  watcher.next(
    'event',
    (event) => 'agent' in event && event.agentId === id && event.agent.connected === connected,
    10_000,
  )

describe('a hub that stood still for longer than its lease', () => {
  test(
    'takes its agents back: their sockets stay, and what was sent meanwhile arrives',
    { timeout: 30_000 },
    async () => {
      await using pair = await startPair(NEVER_MS)
      const { doomed, hub, watcher } = pair
      await using alice = await join(hub, 'alice')
      await using bob = await join(doomed, 'bob', { window: 2 })
      await send(alice, 'bob', 'before')
      const [before] = await receive(bob, 1)
      doomed.pause()
      await connection(watcher, 'bob', false)
      await send(alice, 'bob', 'meanwhile')
      // What waits in the socket of a hub that stands still.
      bob.send({ ref: 'early', ...sendFrame('alice', 'from bob') })
      doomed.resume()
      await connection(watcher, 'bob', true)
      expect(await read(bob, 1)).toEqual(['meanwhile'])
      if (before) ack(bob, before)
      await send(alice, 'bob', 'after')
      expect(await read(bob, 1)).toEqual(['after'])
      // Answered one way or the other: with `ok` it has arrived, with an error it has not.
      const answer = await bob.nextWhere((frame) => 'ref' in frame && frame.ref === 'early', 'answer')
      await send(bob, 'alice', 'marker')
      const arrived = await read(alice, answer.type === 'ok' ? 2 : 1)
      expect(arrived).toEqual(answer.type === 'ok' ? ['from bob', 'marker'] : ['marker'])
      expect(bob.waitingOf('message')).toEqual([])
      expect(bob.webSocket.readyState).toBe(bob.webSocket.OPEN)
    },
  )

  test(
    'takes agents back that are offline by now, and work that others have got stays theirs',
    { timeout: 30_000 },
    async () => {
      await using pair = await startPair(100)
      const { doomed, hub, watcher } = pair
      await using boss = await join(hub, 'boss', { capabilities: ['asking'] })
      await using bob = await join(doomed, 'bob', { concurrency: 2 })
      await send(boss, { capability: 'nlp' }, 'work')
      const [work] = await receive(bob, 1)
      doomed.pause()
      await watcher.next(
        'event',
        (event) => event.event === 'agent.status_changed' && event.agentId === 'bob',
        10_000,
      )
      await using carol = await join(hub, 'carol')
      const [again] = await receive(carol, 1)
      expect(again).toMatchObject({ id: work?.id, attempt: 2 })
      doomed.resume()
      await watcher.next(
        'event',
        (event) => event.event === 'agent.status_changed' && event.new === 'online',
        10_000,
      )
      expect(await bob.next('revoked')).toMatchObject({ ids: [work?.id] })
      // What a former holder says of it has no effect.
      if (work) ack(bob, work)
      await bob.roundTrip()
      expect(await pair.store.queues.held('default', 'carol')).toHaveLength(1)
      if (again) ack(carol, again)
      await expect.poll(() => pair.store.queues.size('default', 'nlp')).toBe(0)
    },
  )

  test(
    'writes nothing for agents that others have by now, and closes their sockets 4409',
    { timeout: 30_000 },
    async () => {
      await using pair = await startPair(NEVER_MS)
      const { doomed, hub, watcher } = pair
      await using alice = await join(hub, 'alice', { window: 10 })
      await using bob = await join(doomed, 'bob', { producer: 'p1' })
      await send(alice, 'bob', 'one')
      await send(alice, 'bob', 'two')
      const [one] = await receive(bob, 2)
      doomed.pause()
      await connection(watcher, 'bob', false)
      await using later = await reconnect(hub, bob, { producer: 'p1' })
      expect(await read(later, 2)).toEqual(['one', 'two'])
      // All of this lies in the socket when the hub goes on, and comes from a session that is over.
      bob.send({ ref: 1, ...sendFrame('alice', 'stale') })
      bob.send({ ref: 2, ...sendFrame('alice', 'stale with seq', { seq: 1 }) })
      bob.send({ ref: 3, ...sendFrame({ capability: 'nlp' }, 'stale work') })
      bob.send({ ref: 4, ...sendFrame({ all: true }, 'stale broadcast') })
      bob.send({ ref: 5, type: 'update', status: 'degraded', statusReason: 'stale' })
      bob.send({ type: 'nack', id: one?.id, requeue: false, reason: 'stale' })
      doomed.resume()
      expect(await bob.closed).toMatchObject({ code: 4409 })
      await send(later, 'alice', 'fresh', { seq: 1 })
      expect(await read(alice, 1)).toEqual(['fresh'])
      expect(alice.waitingOf('message')).toEqual([])
      const { entries } = await pair.store.inboxes.read('default', 'bob', 'inbox', 0, 10)
      expect(entries[0]).toMatchObject({ number: 1, rejections: 0 })
      expect(await pair.store.deadLetters.list('default', null, 10)).toEqual([])
      expect(await pair.store.queues.size('default', 'nlp')).toBe(0)
      const { agents } = await pair.store.registry.snapshot('default')
      expect(agents.find(({ id }) => id === 'bob')?.state).toMatchObject({ status: 'online', hub: hub.id })
    },
  )
})

test(
  'a whole crowd of a dead hub is ended within two leases and a look, in every namespace',
  { timeout: 30_000 },
  async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    const settings = { port: 0, logLevel: 'silent' as const, redisUrl, keyPrefix }
    await using hub = await startHub({ ...settings, hubLeaseMs: LEASE_MS, hubGraceMs: 0, graceMs: 1_000 })
    const store = await connectRedisCore({
      url: redisUrl,
      keyPrefix,
      limits: { ...CORE_LIMITS, hubLeaseMs: LEASE_MS },
    })
    const names = ['one', 'two', 'three']
    await store.leases.renew('hub-dead', names)
    const crowd = 700
    const watchers: TestSocket[] = []
    for (const name of names) {
      watchers.push(await connectObserver(hub, name))
      await store.registry.snapshot(name)
      await Promise.all(
        Array.from({ length: crowd }, (_, i) =>
          store.registry.register(name, registerRequest(`a${i}`, { hub: 'hub-dead' })),
        ),
      )
    }
    // A lease in the past, as that hub left it.
    await store.leases.renew('hub-dead', names)
    const begun = performance.now()
    const offline = async (name: string): Promise<number> =>
      (await store.registry.snapshot(name)).agents.filter(({ state }) => state.status === 'offline').length
    for (const name of names)
      await expect.poll(() => offline(name), { timeout: 20_000, interval: 50 }).toBe(crowd)
    expect(performance.now() - begun).toBeLessThan(2 * LEASE_MS + 6_000)
    await store.close()
    for (const watcher of watchers) await watcher.cut()
  },
)

test('after an outage of the store no hub takes the others for dead', { timeout: 30_000 }, async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const redis = await redisOfFile()
  const settings = {
    redisUrl,
    keyPrefix,
    hubLeaseMs: LEASE_MS,
    hubGraceMs: 0,
    port: 0,
    logLevel: 'silent' as const,
  }
  await using hub = await startHub(settings)
  await using doomed = await startHubProcess({
    '--redis-url': redisUrl,
    '--key-prefix': keyPrefix,
    '--hub-lease-ms': LEASE_MS,
    '--hub-grace-ms': 0,
  })
  await using alice = await join(hub, 'alice')
  await using bob = await join(doomed, 'bob')
  await using watcher = await connectObserver(hub)
  await watcher.request({ type: 'subscribe' })
  // `hub` has been here for longer than it waits with the dead.
  const steady = await connectRedisCore({
    url: redisUrl,
    keyPrefix,
    limits: { ...CORE_LIMITS, hubLeaseMs: LEASE_MS },
  })
  await steady.leases.renew('hub-marker', [])
  const client = new Redis(redisUrl)
  await expect
    .poll(() => client.zscore(`${keyPrefix}:{hubs}`, 'hub-marker'), { interval: 50, timeout: 10_000 })
    .toBeNull()
  client.disconnect()
  // The store stands still for longer than a lease, and the other hub comes back to it a good while after this one.
  doomed.pause()
  redis.pause()
  // While it does nobody can tell how time passes there.
  await new Promise((resolve) => setTimeout(resolve, 1.5 * LEASE_MS))
  redis.resume()
  await steady.leases.renew('hub-marker-2', [])
  await expect.poll(() => steady.leases.isExpired('hub-marker-2'), { timeout: 10_000 }).toBe(true)
  doomed.resume()
  await send(alice, 'bob', 'still there')
  expect(await read(bob, 1)).toEqual(['still there'])
  await steady.close()
  expect(watcher.waitingOf('event')).toEqual([])
})
