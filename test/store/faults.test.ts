import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { closeAfterTest, CORE_LIMITS, join, NS, sendOf, store, toAgent } from '../support/core.ts'
import { type RedisFlags, type RedisServer, startRedis } from '../support/redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { readiness, startTraffic, type Traffic } from '../support/traffic.ts'

interface Stage {
  readonly redis: RedisServer
  /** What hubs connect to. */
  readonly proxy: TcpProxy
  /** To the server itself. */
  readonly client: Redis
  readonly traffic: Traffic
}

/** Hubs whose connections to Redis go by way of a proxy, with messages flowing. */
async function stage(flags: RedisFlags = {}): Promise<Stage> {
  const redis = await startRedis(flags)
  onTestFinished(() => redis.stop())
  const proxy = await startTcpProxy(redis.port)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  const client = new Redis(redis.url)
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  const traffic = await startTraffic({ redisUrl: `redis://127.0.0.1:${proxy.port}` })
  onTestFinished(() => traffic[Symbol.asyncDispose]())
  await traffic.flows()
  expect(await readiness(traffic.hubs[0])).toEqual({ ready: true, reasons: [] })
  return { redis, proxy, client, traffic }
}

const untilReady = async ({ hubs }: Traffic): Promise<void> => {
  for (const hub of hubs)
    await expect.poll(() => readiness(hub), { interval: 50, timeout: 15_000 }).toMatchObject({ ready: true })
}

/** All that was stored has come once and in order, and all see the same. */
async function expectWhole(traffic: Traffic): Promise<void> {
  await untilReady(traffic)
  await traffic.flows()
  await traffic.stop()
  await traffic.complete()
  await traffic.agree()
}

const untilNotReady = ({ hubs }: Traffic, reason: RegExp): Promise<void> =>
  expect
    .poll(() => readiness(hubs[0]), { interval: 50, timeout: 10_000 })
    .toMatchObject({ ready: false, reasons: expect.arrayContaining([expect.stringMatching(reason)]) })

describe('while the store cannot be reached, sockets stay, and afterwards all that was stored has come', () => {
  test('connections are refused', async () => {
    const { proxy, traffic } = await stage()
    proxy.refuse()
    await untilNotReady(traffic, /the store does not answer .*not connected/)
    expect((await traffic.sender.discover({ name: 'receiver' })).agents).toHaveLength(1)
    proxy.heal()
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })

  test('connections are reset again and again', async () => {
    const { proxy, traffic } = await stage()
    for (let i = 0; i < 5; i++) {
      proxy.cut()
      await traffic.flows(3)
    }
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })

  test('the server stands still for a while', async () => {
    const { redis, traffic } = await stage()
    redis.pause()
    await untilNotReady(traffic, /has not answered for 2000 ms/)
    redis.resume()
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })

  test('the server pauses its clients', async () => {
    const { client, traffic } = await stage()
    await client.client('PAUSE', 1_500, 'ALL')
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })

  test('connections are half open: nothing comes, and no end', { timeout: 40_000 }, async () => {
    const { proxy, traffic } = await stage()
    proxy.freeze()
    await untilNotReady(traffic, /has not answered for 2000 ms/)
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })

  test('subscriptions are killed', async () => {
    const { client, traffic } = await stage()
    for (let i = 0; i < 3; i++) {
      await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await traffic.flows(3)
    }
    await expectWhole(traffic)
    expect(traffic.disconnections).toBe(0)
  })
})

describe('a store that was restarted', () => {
  test('with all it had: agents come back within seconds, and nothing is lost', async () => {
    const { redis, traffic } = await stage({ appendonly: 'yes', appendfsync: 'always' })
    await redis.restart()
    await expectWhole(traffic)
    expect(traffic.disconnections).toBeGreaterThan(0)
  })

  test('with nothing of what it had: agents register anew, and what is sent from then on arrives', async () => {
    const { redis, traffic } = await stage()
    const term = traffic.watch.leader.term
    await redis.restart()
    await untilReady(traffic)
    await traffic.flows()
    await traffic.stop()
    await traffic.agree()
    expect(traffic.watch.leader.term).toBeGreaterThan(term)
  })

  test('and is emptied under its watchers: they are told', async () => {
    const { client, traffic } = await stage()
    const { watch } = traffic
    const term = watch.leader.term
    const reset = async (): Promise<void> => {
      for (;;) {
        const { value } = await watch.next()
        if (value?.event === 'list' && value.reason === 'reset') return
      }
    }
    await client.flushall()
    await reset()
    await traffic.flows()
    await traffic.stop()
    await traffic.agree()
    expect(watch.leader.term).toBeGreaterThan(term)
  })
})

test('a connection that is cut after the command was sent stores nothing twice', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await using proxy = await startTcpProxy(redis.port)
  const url = `redis://127.0.0.1:${proxy.port}`
  const core = closeAfterTest(await connectRedisCore({ url, keyPrefix: 'mesh', limits: CORE_LIMITS }))
  const direct = closeAfterTest(
    await connectRedisCore({ url: redis.url, keyPrefix: 'mesh', limits: CORE_LIMITS }),
  )
  const { sender } = await join(core, 'alice', { producer: 'p' })
  const texts = async (): Promise<string[]> =>
    (await direct.inboxes.read(NS, 'alice', 'inbox', 0, 100)).entries.map(({ text }) => text)
  for (let seq = 1; seq <= 5; seq++) {
    const numbered = sendOf(sender, toAgent('alice'), `n${seq}`, { seq })
    const plain = sendOf(sender, toAgent('alice'), `p${seq}`)
    proxy.cutsAfter = (piece) => piece.includes(`"id":"n${seq}"`)
    await expect(core.sends.store(NS, [numbered, plain])).rejects.toMatchObject({ code: 'store_unavailable' })
    proxy.cutsAfter = () => false
    // It was stored, once, and nobody sends it again of their own accord.
    await expect.poll(texts, { interval: 5 }).toHaveLength(2 * seq)
    // The client's repetition is known for what it is.
    const repeat = (): Promise<unknown> => store(core, numbered).catch(() => null)
    await expect.poll(repeat, { interval: 5 }).toEqual({ outcome: 'duplicate', recipients: 1 })
    expect(await texts()).toHaveLength(2 * seq)
  }
})

test('a subscription that brings nothing, though it is there, is made anew, and what it was for goes on', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await using proxy = await startTcpProxy(redis.port)
  const errors: string[] = []
  const core = closeAfterTest(
    await connectRedisCore({
      url: `redis://127.0.0.1:${proxy.port}`,
      keyPrefix: 'mesh',
      limits: CORE_LIMITS,
      canaryIntervalMs: 50,
      onError: (error) => {
        if (error) errors.push(error.message)
      },
    }),
  )
  const heard = new Set<string>()
  let gaps = 0
  await core.bus.subscribe(
    NS,
    'hub-1',
    (signal) => heard.add(signal.kind),
    () => (gaps += 1),
  )
  proxy.deafen()
  await expect.poll(() => gaps, { interval: 5, timeout: 5_000 }).toBe(1)
  expect(errors).toEqual(['the subscription is silent for 3 canaries: subscribing anew'])
  core.bus.publish(NS, 'hub-1', { kind: 'heartbeats_wanted' })
  await expect.poll(() => heard, { interval: 5 }).toContain('heartbeats_wanted')
  expect(await core.problems()).toEqual([])
})

test('a subscription that goes on bringing nothing makes a hub not ready', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await using proxy = await startTcpProxy(redis.port)
  const core = closeAfterTest(
    await connectRedisCore({
      url: `redis://127.0.0.1:${proxy.port}`,
      keyPrefix: 'mesh',
      limits: CORE_LIMITS,
      canaryIntervalMs: 50,
    }),
  )
  expect(await core.problems()).toEqual([])
  const deaf = setInterval(() => proxy.deafen(), 10)
  onTestFinished(() => clearInterval(deaf))
  const problems = ['the subscription to the store is interrupted']
  // Not only while it is made anew.
  for (let i = 0; i < 3; i++)
    await expect.poll(() => core.problems(), { interval: 50, timeout: 10_000 }).toEqual(problems)
  clearInterval(deaf)
  await expect.poll(() => core.problems(), { interval: 50, timeout: 10_000 }).toEqual([])
})
