import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { redisFactory } from '../support/core-factories.ts'
import {
  closeAfterTest,
  CORE_LIMITS,
  frame,
  join,
  leave,
  NS,
  sendOf,
  store,
  toAgent,
  toAll,
  toQueue,
} from '../support/core.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { coreSuites } from './suites.ts'

let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

/** A core, and a look at the keys it leaves. */
async function openWithKeys(keyPrefix: string): Promise<{ core: Core; keys: () => Promise<string[]> }> {
  const core = closeAfterTest(await connectRedisCore({ url: redis.url, keyPrefix, limits: CORE_LIMITS }))
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  return { core, keys: async () => (await client.keys(`${keyPrefix}:*`)).toSorted() }
}

describe('the core on Redis', () => {
  coreSuites(redisFactory(() => redis.url))

  test('calls take effect in the order they were made from the first on, also after the server restarted', async () => {
    await using own = await startRedis()
    const core = closeAfterTest(
      await connectRedisCore({ url: own.url, keyPrefix: 'order', limits: CORE_LIMITS }),
    )
    const expectOrder = async (): Promise<void> => {
      const { sender } = await join(core, 'alice')
      const calls: Promise<unknown>[] = []
      for (let number = 1; number <= 30; number++) {
        calls.push(core.sends.store(NS, [sendOf(sender, toAgent('alice'), `m${number}`)]))
        // Some at once, some when those before may be on their way back.
        if (number % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await Promise.all(calls)
      const { entries } = await core.inboxes.read(NS, 'alice', 'inbox', 0, 100)
      expect(entries.map(({ text }) => text)).toEqual(
        Array.from({ length: 30 }, (_, i) => frame(`m${i + 1}`)),
      )
    }
    await expectOrder()
    await own.restart()
    const snapshot = (): Promise<unknown> => core.registry.snapshot(NS).catch(() => null)
    await expect.poll(snapshot, { interval: 5, timeout: 5_000 }).not.toBeNull()
    await expectOrder()
  })

  test('a script that the server was made to forget is loaded again', async () => {
    const { core } = await openWithKeys('forgotten')
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    await join(core, 'alice')
    await client.script('FLUSH')
    expect(await core.registry.snapshot(NS)).toMatchObject({ leader: 'alice' })
  })

  test('what was settled or given up leaves no key behind', async () => {
    const { core, keys } = await openWithKeys('settled')
    const { sender } = await join(core, 'alice')
    const expiresAt = Date.now() + 3_600_000
    const batch = ['m1', 'm2', 'm3', 'm4'].map((id) => sendOf(sender, toAgent('alice'), id, { expiresAt }))
    const rejection = { agentId: 'alice', requeue: true, delayMs: 0, reason: null }
    await core.sends.store(NS, batch)
    await core.inboxes.expire(NS, { agentId: 'alice', lane: 'inbox', numbers: [1] })
    await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [2, 3, 4] }])
    const clean = await keys()
    await core.sends.store(NS, batch)
    for (const number of [5, 6, 7]) await core.inboxes.reject(NS, 'inbox', { ...rejection, number })
    await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [5, 8] }])
    await core.inboxes.reject(NS, 'inbox', { ...rejection, number: 6, requeue: false })
    expect(await keys()).not.toEqual(clean)
    await core.inboxes.expire(NS, { agentId: 'alice', lane: 'inbox', numbers: [7] })
    expect(await keys()).toEqual(clean)
    expect(clean.filter((key) => /expiries|rejections/.test(key))).toEqual([])
  })

  test('work that ended leaves no key behind', async () => {
    const { core, keys } = await openWithKeys('worked')
    const alice = await join(core, 'alice')
    const bob = await join(core, 'bob', { fields: { capabilities: ['other'] } })
    const { fence } = alice.sender
    const send = async (receipt: boolean, expiresAt: number | null): Promise<void> => {
      for (const id of ['m1', 'm2', 'm3', 'm4', 'm5']) {
        await store(core, sendOf(bob.sender, toQueue('nlp'), id, { receipt, expiresAt }))
      }
    }
    const end = async (): Promise<void> => {
      const claimant = { agentId: 'alice', fence, room: 5, concurrency: 5 }
      const { tasks } = await core.queues.claim(NS, 'nlp', [claimant])
      await core.queues.extend(NS, tasks)
      const release = { agentId: 'alice', fence, claim: 1, cause: 'rejected' as const, reason: null }
      await core.queues.release(NS, { ...release, id: 'm1', requeue: false, delayMs: 0 })
      await core.queues.release(NS, { ...release, id: 'm2', requeue: true, delayMs: 1 })
      await core.queues.settle(NS, tasks)
      await expect.poll(() => core.queues.tick(NS, 10), { interval: 2 }).toBe(1)
      const again = await core.queues.claim(NS, 'nlp', [claimant])
      await core.queues.settle(NS, again.tasks)
    }
    const settleReceipts = async (): Promise<void> => {
      const { entries } = await core.inboxes.read(NS, 'bob', 'replies', 0, 100)
      const numbers = entries.map(({ number }) => number)
      await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'replies', numbers }])
    }
    await send(true, null)
    await end()
    await settleReceipts()
    const clean = await keys()
    expect(
      clean.filter((key) => /:(tasks|states|waiting|held|sizes|agenda|orphaned|receipts)/.test(key)),
    ).toEqual([])
    await send(false, Date.now() + 3_600_000)
    expect(await keys()).not.toEqual(clean)
    await end()
    expect(await keys()).toEqual(clean)
    // Nobody could take it.
    await store(core, sendOf(bob.sender, toQueue('none'), 'm6'))
    expect(await keys()).not.toEqual(clean)
    const carol = await join(core, 'carol', { fields: { capabilities: ['none'] } })
    const claimant = { agentId: 'carol', fence: carol.fence, room: 1, concurrency: 1 }
    await core.queues.settle(NS, (await core.queues.claim(NS, 'none', [claimant])).tasks)
    expect(await keys()).toEqual(clean)
  })

  test('all that is expired is given up on the way to work, however much it is', async () => {
    const { core } = await openWithKeys('expired')
    const alice = await join(core, 'alice')
    const old = Array.from({ length: 2500 }, (_, i) =>
      sendOf(alice.sender, toQueue('nlp'), `m${i}`, { expiresAt: 1, receipt: i % 2 === 0 }),
    )
    await core.sends.store(NS, [...old, sendOf(alice.sender, toQueue('nlp'), 'last')])
    const claimant = { agentId: 'alice', fence: alice.fence, room: 5, concurrency: 5 }
    expect(await core.queues.claim(NS, 'nlp', [claimant])).toMatchObject({ tasks: [{ id: 'last' }], left: 0 })
    expect(await core.deadLetters.count(NS)).toEqual({ kept: 2500, dropped: 0 })
    expect(await core.queues.size(NS, 'nlp')).toBe(1)
  })

  test('scripts write times and strings as JavaScript does', async () => {
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    const preludes = ['_base', '_receipts'].map((name) =>
      readFileSync(new URL(`../../src/core/redis/lua/${name}.lua`, import.meta.url), 'utf8'),
    )
    const evaluate = async (body: string, values: readonly (string | number)[]): Promise<unknown> =>
      client.eval([...preludes, body].join('\n'), 0, 'PUBLISH', 'root:', ...values, 0)
    const loop = (call: string): string =>
      `local reply = {} for i = 3, LAST_ARG do reply[#reply + 1] = ${call} end return reply`
    const day = 86_400_000
    const times = Array.from({ length: 3000 }, (_, i) => i * 17 * day + i * 1_234_567)
    for (const year of [1970, 2000, 2023, 2024, 2096, 2100, 2104, 9999]) {
      for (const [month, date] of [
        [0, 1],
        [1, 28],
        [1, 29],
        [2, 1],
        [11, 31],
      ] as const) {
        times.push(Date.UTC(year, month, date), Date.UTC(year, month, date, 23, 59, 59, 999))
      }
    }
    expect(await evaluate(loop('iso(tonumber(ARGV[i]))'), times)).toEqual(
      times.map((time) => new Date(time).toISOString()),
    )
    const ascii = String.fromCharCode(...Array.from({ length: 128 }, (_, code) => code))
    const strings = [ascii, '', 'a/b', 'ü → 😀', '\u2028\u2029']
    expect(await evaluate(loop('quote(ARGV[i])'), strings)).toEqual(
      strings.map((text) => JSON.stringify(text)),
    )
  })

  test('an agent that is unregistered leaves no key of its own behind', async () => {
    const { core, keys } = await openWithKeys('gone')
    await join(core, 'bob')
    const alice = await join(core, 'alice', { producer: 'p' })
    const { sender } = alice
    await core.sends.store(NS, [
      sendOf(sender, toAgent('alice'), 'm1', { seq: 1, expiresAt: Date.now() + 3_600_000 }),
      sendOf(sender, toAgent('alice', 'replies'), 'r1', { seq: 2, receipt: true }),
      sendOf(sender, toAll(true), 'b1', { seq: 3 }),
      sendOf(sender, toAll(true), 'b2', { seq: 4 }),
    ])
    await core.inboxes.reject(NS, 'inbox', {
      agentId: 'alice',
      number: 1,
      requeue: true,
      delayMs: 0,
      reason: null,
    })
    await core.broadcasts.settle(NS, [{ agentId: 'alice', upTo: 0, beyond: [2] }])
    const ofAlice = (await keys()).filter((key) => key.includes('alice'))
    expect(ofAlice.length).toBeGreaterThan(3)
    await leave(core, alice, { departure: 'unregister' })
    const left = await keys()
    expect(left.filter((key) => /alice|expiries/.test(key))).toEqual([])
  })
})
