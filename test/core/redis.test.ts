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
  toAgent,
  toAll,
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

  test('an agent that is unregistered leaves no key of its own behind', async () => {
    const { core, keys } = await openWithKeys('gone')
    await join(core, 'bob')
    const alice = await join(core, 'alice', { producer: 'p' })
    const { sender } = alice
    await core.sends.store(NS, [
      sendOf(sender, toAgent('alice'), 'm1', { seq: 1, expiresAt: Date.now() + 3_600_000 }),
      sendOf(sender, toAgent('alice', 'replies'), 'r1', { seq: 2 }),
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
