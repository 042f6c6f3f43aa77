import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/core/core.ts'
import type { Sender } from '../../src/core/sends.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { INBOX, placeOf } from '../../src/hub/place.ts'
import { Settled } from '../../src/hub/settled.ts'
import { Settler } from '../../src/hub/settler.ts'
import { startHub } from '../../src/server.ts'
import { closeAfterTest, CORE_LIMITS, join, NS, sendOf, store, toAgent, toAll } from '../support/core.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { ack, join as joinHub, receive } from '../support/talk.ts'

/** A core as a hub uses it: it is subscribed, and remembers what it is told. */
async function openHub(
  url: string,
  hub: string,
): Promise<{ core: Core; heard: Signal[]; gaps: () => number }> {
  const core = closeAfterTest(await connectRedisCore({ url, keyPrefix: 'mesh', limits: CORE_LIMITS }))
  const heard: Signal[] = []
  let gaps = 0
  await core.bus.subscribe(
    NS,
    hub,
    (signal) => heard.push(signal),
    () => (gaps += 1),
  )
  await core.registry.snapshot(NS)
  return { core, heard, gaps: () => gaps }
}

const LOSSES: readonly (readonly [
  what: string,
  lose: (redis: RedisServer, client: Redis) => Promise<unknown>,
])[] = [
  ['restarted with what it had saved earlier', (redis) => redis.restart()],
  ['emptied', (_redis, client) => client.flushall()],
]

describe.each(LOSSES)('when the store was %s', (what, lose) => {
  const start = async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const client = new Redis(redis.url)
    client.on('error', () => undefined)
    onTestFinished(() => client.disconnect())
    const near = await openHub(redis.url, 'hub-1')
    const far = await openHub(redis.url, 'hub-2')
    const joined = await join(near.core, 'alice')
    await client.save()
    for (let i = 1; i <= 3; i++) await store(near.core, sendOf(joined.sender, toAgent('alice'), `lost${i}`))
    const { epoch, revision } = await near.core.registry.snapshot(NS)
    await lose(redis, client)
    /** The other hub is the first to notice, and gives the same numbers again. */
    const begin = async (hub = 'hub-2'): Promise<string[]> => {
      const snapshot = (): Promise<string | null> =>
        far.core.registry.snapshot(NS).then(
          (found) => found.epoch,
          () => null,
        )
      await expect.poll(snapshot, { interval: 5, timeout: 5_000 }).not.toBeNull()
      const again = await join(far.core, 'alice', { proved: true, hub })
      for (let i = 1; i <= 3; i++) await store(far.core, sendOf(again.sender, toAgent('alice'), `new${i}`))
      return ids()
    }
    const ids = async (): Promise<string[]> => {
      const { entries } = await far.core.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      return entries.map(({ text }) => (JSON.parse(text) as { id: string }).id)
    }
    return { near, far, joined, epoch, revision, begin, ids }
  }

  test('numbers known from before delete nothing of what has them now', async () => {
    const { near, begin, ids } = await start()
    expect(await begin()).toEqual(['new1', 'new2', 'new3'])
    await expect.poll(() => near.core.problems(), { interval: 5, timeout: 5_000 }).toEqual([])
    const settle = near.core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1, 2, 3] }])
    await expect(settle).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await ids()).toEqual(['new1', 'new2', 'new3'])
  })

  test('while the registry is read anew numbers known from before delete nothing either', async () => {
    const { near, begin, ids } = await start()
    await begin()
    await expect.poll(() => near.core.problems(), { interval: 5, timeout: 5_000 }).toEqual([])
    let waiting = true
    const read = near.core.registry.snapshot(NS).finally(() => (waiting = false))
    const settlement = { agentId: 'alice', lane: 'inbox', numbers: [1, 2, 3] } as const
    const tries: Promise<PromiseSettledResult<void>[]>[] = []
    const stillWaiting = (): boolean => waiting
    while (stillWaiting()) {
      tries.push(Promise.allSettled([near.core.inboxes.settle(NS, [settlement])]))
      await nextTurn()
    }
    await read
    for (const [settled] of await Promise.all(tries)) expect(settled).toMatchObject({ status: 'rejected' })
    expect(await ids()).toEqual(['new1', 'new2', 'new3'])
  })

  test('entries and broadcasts of the time after are told only to whom has read the registry anew', async () => {
    const { near, far, begin } = await start()
    near.heard.length = 0
    await begin('hub-1')
    const bob = await join(far.core, 'bob', { hub: 'hub-2' })
    let told = 0
    const tell = async (): Promise<void> => {
      told++
      await store(far.core, sendOf(bob.sender, toAll(), `all${told}`))
      await store(far.core, sendOf(bob.sender, toAgent('alice'), `one${told}`))
      await join(far.core, `agent${told}`, { hub: 'hub-2' })
    }
    const kinds = (): string[] => near.heard.map(({ kind }) => kind)
    await expect
      .poll(async () => (await tell(), kinds()), { interval: 20, timeout: 5_000 })
      .toContain('event')
    expect(kinds()).not.toContain('entry')
    expect(kinds()).not.toContain('broadcast')
    await expect
      .poll(() => near.core.registry.snapshot(NS).catch(() => null), { interval: 5, timeout: 5_000 })
      .not.toBeNull()
    await tell()
    await expect.poll(kinds, { interval: 5 }).toContain('entry')
    expect(kinds()).toContain('broadcast')
  })

  test('whoever knows something of before is refused until it reads the registry anew, and is told to', async () => {
    const { near, joined, epoch, revision, begin } = await start()
    const before = near.gaps()
    await begin()
    const send = (): Promise<unknown> => store(near.core, sendOf(joined.sender, toAgent('alice'), 'late'))
    await expect(send()).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    await expect(send()).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect.poll(near.gaps, { interval: 5 }).toBeGreaterThan(before)
    const since = (): Promise<unknown> => near.core.registry.since(NS, revision, 100)
    await expect
      .poll(() => since().catch(() => null), { interval: 5 })
      .toEqual({ events: [], complete: false })
    const fresh = await near.core.registry.snapshot(NS)
    expect(fresh.epoch).not.toBe(epoch)
    expect(fresh.revision).toBeGreaterThan(revision)
    expect(await send()).toEqual({ outcome: 'fenced' })
  })

  test('revisions, terms and fences are beyond all there were', async () => {
    const { far, joined, revision, begin } = await start()
    await begin()
    const again = await join(far.core, 'bob', { hub: 'hub-2' })
    expect(again.fence).toBeGreaterThan(revision + 1_000)
    expect(again.fence).toBeGreaterThan(joined.fence)
    const led = async (): Promise<number> => {
      for (const id of await far.core.registry.due(NS, 10)) await far.core.registry.expire(NS, id)
      const { term, leader } = await far.core.registry.snapshot(NS)
      return leader === 'alice' ? term : 0
    }
    await expect.poll(led, { interval: 20, timeout: 5_000 }).toBeGreaterThan(joined.fence - 1)
    expect(what).not.toBe('')
  })
})

test('after all was lost, agents keep the time they were first registered at, and have time to come back before one is elected', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  const { core } = await openHub(redis.url, 'hub-1')
  await join(core, 'elder')
  await join(core, 'younger')
  const before = await core.registry.snapshot(NS)
  const since = new Map(before.agents.map(({ id, state }) => [id, state.registeredAt]))
  await client.flushall()
  await core.registry.snapshot(NS)
  for (const id of ['younger', 'elder']) await join(core, id, { registeredAt: since.get(id) ?? null })
  const after = await core.registry.snapshot(NS)
  expect(after.leader).toBeNull()
  expect(new Map(after.agents.map(({ id, state }) => [id, state.registeredAt]))).toEqual(since)
  const leader = async (): Promise<string | null> => {
    for (const id of await core.registry.due(NS, 10)) await core.registry.expire(NS, id)
    return (await core.registry.snapshot(NS)).leader
  }
  await expect.poll(leader, { interval: 20, timeout: 5_000 }).not.toBeNull()
  expect(await core.registry.snapshot(NS)).toMatchObject({ leader: 'elder' })
  expect((await core.registry.snapshot(NS)).term).toBeGreaterThan(before.revision)
  expect(await core.registry.due(NS, 10)).toEqual([])
})

test('a server that followed another one for a while is not the same any more: it has what that one had', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const other = await startRedis()
  onTestFinished(() => other.stop())
  const [client, copy] = [new Redis(redis.url), new Redis(other.url)]
  for (const one of [client, copy]) {
    one.on('error', () => undefined)
    onTestFinished(() => one.disconnect())
  }
  const follow = async (one: Redis, leader: string): Promise<void> => {
    const { hostname, port } = new URL(leader)
    await one.replicaof(hostname, Number(port))
    await expect
      .poll(() => one.info('replication'), { interval: 20, timeout: 10_000 })
      .toContain('master_link_status:up')
  }
  const { core } = await openHub(redis.url, 'hub-1')
  const alice = await join(core, 'alice')
  const before = await core.registry.snapshot(NS)
  await follow(copy, redis.url)
  await copy.replicaof('NO', 'ONE')
  // Only the first one has it, and then follows the one that has not.
  await store(core, sendOf(alice.sender, toAgent('alice'), 'lost'))
  await follow(client, other.url)
  await client.replicaof('NO', 'ONE')
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal')
  const epoch = (): Promise<string | null> =>
    core.registry.snapshot(NS).then(
      (found) => found.epoch,
      () => null,
    )
  await expect.poll(epoch, { interval: 20, timeout: 5_000 }).not.toBeNull()
  expect(await epoch()).not.toBe(before.epoch)
})

test('a core that nobody is subscribed on goes on after the store was restarted: it knows nothing of before', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const core = closeAfterTest(
    await connectRedisCore({ url: redis.url, keyPrefix: 'mesh', limits: CORE_LIMITS }),
  )
  await join(core, 'alice')
  await redis.restart()
  const due = (): Promise<unknown> => core.registry.sessionsOf(NS, 'hub-1').catch(() => null)
  await expect.poll(due, { interval: 5, timeout: 5_000 }).toEqual([])
  expect((await join(core, 'alice')).resumed).toBe(false)
})

test('a connection that was lost and is back, to the same server, ends no epoch', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const { core, gaps } = await openHub(redis.url, 'hub-1')
  const { sender } = await join(core, 'alice')
  const { epoch } = await core.registry.snapshot(NS)
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal')
  await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await expect.poll(gaps, { interval: 5, timeout: 5_000 }).toBe(1)
  const send = (): Promise<unknown> => store(core, sendOf(sender, toAgent('alice'), 'm')).catch(() => null)
  await expect.poll(send, { interval: 5 }).toMatchObject({ outcome: 'stored' })
  expect((await core.registry.snapshot(NS)).epoch).toBe(epoch)
})

test('acknowledgements of a session that is void are not tried again', async () => {
  const told: (readonly number[])[] = []
  let fail: (error: Error) => void = () => undefined
  const core = {
    inboxes: {
      settle: (_namespace: string, settlements: readonly { numbers: readonly number[] }[]) => {
        told.push(...settlements.map(({ numbers }) => numbers))
        return told.length === 1 ? new Promise((_, reject) => (fail = reject)) : Promise.resolve()
      },
    },
    broadcasts: { settle: () => Promise.resolve() },
  } as unknown as Core
  const settler = new Settler(NS, core)
  const make = (): Settled => new Settled('alice', settler, { upTo: 0, beyond: [] }, () => 0)
  const [old, young] = [make(), make()]
  old.add(placeOf(INBOX, 1))
  const flushed = settler.flush()
  await expect.poll(() => told, { interval: 1 }).toEqual([[1]])
  settler.drop(old)
  old.add(placeOf(INBOX, 2))
  fail(new Error('gone'))
  await flushed
  young.add(placeOf(INBOX, 3))
  await settler.close()
  expect(told).toEqual([[1], [3]])
})

test('what an agent acknowledged before it left deletes nothing of a store that has lost it', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
  const alice = await joinHub(hub, 'alice')
  const far = await openHub(redis.url, 'hub-2')
  const saving = new Redis(redis.url)
  await saving.save()
  saving.disconnect()
  const bob = await join(far.core, 'bob', { hub: 'hub-2' })
  for (let i = 1; i <= 3; i++) await store(far.core, sendOf(bob.sender, toAgent('alice'), `lost${i}`))
  const lost = await receive(alice, 3)
  redis.pause()
  ack(alice, ...lost)
  await alice.cut()
  // Its hub tries to tell the store, and goes on trying.
  await delay(100)
  await redis.restart()
  const begin = async (): Promise<Sender | null> => {
    try {
      await far.core.registry.snapshot(NS)
      return (await join(far.core, 'bob', { hub: 'hub-2' })).sender
    } catch {
      // Not yet.
      return null
    }
  }
  let sender: Sender | null = null
  await expect.poll(async () => (sender = await begin()), { interval: 5, timeout: 5_000 }).not.toBeNull()
  if (sender === null) return
  for (let i = 1; i <= 3; i++) await store(far.core, sendOf(sender, toAgent('alice'), `new${i}`))
  // Whatever the hub has to tell it tells before an agent of its own is registered anew, and a while after.
  const ready = async (): Promise<number> => (await fetch(`${hub.httpUrl}/ready`)).status
  await expect.poll(ready, { interval: 20, timeout: 10_000 }).toBe(200)
  await using _carol = await joinHub(hub, 'carol')
  await delay(1_500)
  const { entries } = await far.core.inboxes.read(NS, 'alice', 'inbox', 0, 10)
  expect(entries.map(({ text }) => (JSON.parse(text) as { id: string }).id)).toEqual(['new1', 'new2', 'new3'])
})
