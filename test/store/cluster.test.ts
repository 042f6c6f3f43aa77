import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { closeAfterTest, CORE_LIMITS } from '../support/core.ts'
import { redisFactory } from '../support/core-factories.ts'
import { type ClusterNode, startCluster, type RedisCluster } from '../support/redis-cluster.ts'
import { readiness, startTraffic, type Traffic } from '../support/traffic.ts'
import { coreSuites } from '../core/suites.ts'

let cluster: RedisCluster

beforeAll(async () => {
  cluster = await startCluster()
})
afterAll(() => cluster.stop())

describe('the core on a Redis Cluster', () => {
  coreSuites(redisFactory(() => cluster.url, { spread: true }))
})

/** A namespace of its own, and the node that has it. */
async function placed(name: string): Promise<{ key: string; owner: ClusterNode }> {
  const key = `mesh:{${name}}:`
  return { key, owner: await cluster.ownerOf(key) }
}

const untilReady = async ({ hubs }: Traffic): Promise<void> => {
  for (const hub of hubs)
    await expect.poll(() => readiness(hub), { interval: 50, timeout: 20_000 }).toMatchObject({ ready: true })
}

describe('a Redis Cluster', () => {
  test('carries meshes on every node', async () => {
    const owners = new Set<ClusterNode>()
    for (let i = 0; owners.size < cluster.primaries.length; i++) {
      const { owner } = await placed(`n${i}`)
      if (owners.has(owner)) continue
      owners.add(owner)
      await using traffic = await startTraffic({ redisUrl: cluster.url, keyPrefix: 'every' }, `n${i}`)
      await untilReady(traffic)
      await traffic.flows()
      await traffic.stop()
      await traffic.complete()
      await traffic.agree()
    }
  })

  test('moves the slot of a namespace to another node: nothing is lost', { timeout: 60_000 }, async () => {
    const { key, owner } = await placed('moving')
    const traffic = await startTraffic({ redisUrl: cluster.url, keyPrefix: 'mesh' }, 'moving')
    onTestFinished(() => traffic[Symbol.asyncDispose]())
    await traffic.flows()
    const target = cluster.primaries.find((node) => node !== owner)
    if (!target) throw new Error('a cluster of one')
    await cluster.moveSlot(key, owner, target)
    await untilReady(traffic)
    await traffic.flows()
    await traffic.stop()
    await traffic.complete()
    await traffic.agree()
  })

  test('is found out to have moved a slot while it is asked all the time', { timeout: 60_000 }, async () => {
    const { key, owner } = await placed('asked')
    const limits = CORE_LIMITS
    const core = closeAfterTest(await connectRedisCore({ url: cluster.url, keyPrefix: 'mesh', limits }))
    await core.registry.snapshot('asked')
    const target = cluster.primaries.find((node) => node !== owner)
    if (!target) throw new Error('a cluster of one')
    await cluster.moveSlot(key, owner, target)
    const asked = (): Promise<unknown> =>
      core.registry.snapshot('asked').then(
        () => 'answered',
        (error: Error) => error.message,
      )
    await expect.poll(asked, { interval: 5, timeout: 10_000 }).toBe('answered')
  })

  test(
    'loses a node: its replica takes over, agents come back, the other namespaces go on',
    {
      timeout: 60_000,
    },
    async () => {
      const { owner } = await placed('hit')
      let spared = 0
      while ((await placed(`spared${spared}`)).owner === owner) spared++
      const hit = await startTraffic({ redisUrl: cluster.url, keyPrefix: 'mesh' }, 'hit')
      onTestFinished(() => hit[Symbol.asyncDispose]())
      const other = await startTraffic({ redisUrl: cluster.url, keyPrefix: 'mesh' }, `spared${spared}`)
      onTestFinished(() => other[Symbol.asyncDispose]())
      await Promise.all([hit.flows(), other.flows()])
      await owner.kill()
      await untilReady(hit)
      await untilReady(other)
      await Promise.all([hit.flows(), other.flows()])
      await Promise.all([hit.stop(), other.stop()])
      await other.complete()
      await Promise.all([hit.agree(), other.agree()])
      expect(hit.disconnections).toBeGreaterThan(0)
      expect(other.disconnections).toBe(0)
    },
  )
})
