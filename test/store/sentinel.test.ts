import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startHub } from '../../src/server.ts'
import { connectObserver } from '../support/agent.ts'
import { redisFactory } from '../support/core-factories.ts'
import { startSentinels, type RedisWithSentinels } from '../support/redis-sentinel.ts'
import { ack, join, read, receive, reconnect, send } from '../support/talk.ts'
import { readiness, startTraffic } from '../support/traffic.ts'
import { coreSuites } from '../core/suites.ts'

let redis: RedisWithSentinels

beforeAll(async () => {
  redis = await startSentinels()
})
afterAll(() => redis.stop())

describe('the core on a Redis that Sentinels name', () => {
  coreSuites(redisFactory(() => redis.url))
})

describe('Sentinels', () => {
  test('one of which is away do not keep secret why the server refuses a hub', async () => {
    const redisUrl = redis.url.replace('//', '//nobody:guess@127.0.0.1:1,')
    await expect(startHub({ port: 0, logLevel: 'silent', redisUrl })).rejects.toThrow(
      /Sentinel 127\.0\.0\.1:1: connect ECONNREFUSED.*; WRONGPASS/,
    )
  })

  test(
    'make the replica of a primary that died the primary: agents come back, and what is sent from then on arrives',
    {
      timeout: 60_000,
    },
    async () => {
      const own = await startSentinels()
      onTestFinished(() => own.stop())
      const traffic = await startTraffic({ redisUrl: own.url })
      onTestFinished(() => traffic[Symbol.asyncDispose]())
      await traffic.flows()
      const { term } = traffic.watch.leader
      await own.primary.kill()
      await expect.poll(() => own.primaryPort(), { interval: 50, timeout: 20_000 }).toBe(own.replica.port)
      for (const hub of traffic.hubs)
        await expect
          .poll(() => readiness(hub), { interval: 50, timeout: 20_000 })
          .toMatchObject({ ready: true })
      await traffic.flows()
      await traffic.stop()
      await traffic.agree()
      expect(traffic.watch.leader.term).toBeGreaterThanOrEqual(term)
    },
  )

  test(
    'make a replica the primary that was behind: what the hubs knew of the old one does not harm what is new',
    {
      timeout: 60_000,
    },
    async () => {
      const own = await startSentinels()
      onTestFinished(() => own.stop())
      const near = await startHub({ port: 0, logLevel: 'silent', redisUrl: own.url })
      onTestFinished(() => near.close())
      const far = await startHub({ port: 0, logLevel: 'silent', redisUrl: own.url })
      onTestFinished(() => far.close())
      const alice = await join(near, 'alice')
      const bob = await join(far, 'bob')
      const watcher = await connectObserver(near)
      onTestFinished(() => watcher.cut())
      await watcher.request({ type: 'subscribe' })
      await send(alice, 'bob', 'replicated')
      ack(bob, ...(await receive(bob, 1)))
      const unacknowledged = (): Promise<number> => own.replica.client.xlen('mesh:{default}:inbox:bob')
      await expect.poll(unacknowledged, { interval: 5 }).toBe(0)
      // From here on the replica is told nothing.
      own.replica.pause()
      await own.primary.client.call('CLIENT', 'KILL', 'TYPE', 'replica')
      for (let i = 0; i < 5; i++) await send(alice, 'bob', `lost ${i}`)
      const lost = await receive(bob, 5)
      await own.primary.kill()
      // Kept by the hub until the store answers: of numbers that new entries will have there.
      ack(bob, ...lost)
      own.replica.resume()
      await expect.poll(() => own.primaryPort(), { interval: 50, timeout: 20_000 }).toBe(own.replica.port)
      // Every session of the old time is over, and who watches is told to forget what it saw.
      expect(await bob.closed).toMatchObject({ code: 4000 })
      expect(await alice.closed).toMatchObject({ code: 4000 })
      expect(await watcher.next('snapshot')).toMatchObject({ reset: true })
      const bobBack = await reconnect(far, bob)
      onTestFinished(() => bobBack.cut())
      const aliceBack = await reconnect(near, alice)
      onTestFinished(() => aliceBack.cut())
      for (let i = 0; i < 6; i++) await send(aliceBack, 'bob', `new ${i}`)
      expect(await read(bobBack, 6)).toEqual(Array.from({ length: 6 }, (_, i) => `new ${i}`))
    },
  )
})
