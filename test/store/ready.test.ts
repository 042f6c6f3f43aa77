import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Registry } from '../../src/core/registry.ts'
import { MeshError } from '../../protocol/errors.ts'
import { startHub } from '../../src/server.ts'
import { startMesh, startTestHub } from '../support/hubs.ts'
import { startRedis } from '../support/redis.ts'
import { join, seen } from '../support/talk.ts'
import { readiness, startTraffic } from '../support/traffic.ts'

test('a hub that takes messages is ready, one that drains is not, and both are healthy', async () => {
  await using hub = await startTestHub('memory')
  expect(await readiness(hub)).toEqual({ ready: true, reasons: [] })
  await hub.drain()
  expect(await readiness(hub)).toEqual({ ready: false, reasons: ['this hub is shutting down'] })
  const health = await fetch(`${hub.httpUrl}/health`)
  expect([health.status, await health.json()]).toMatchObject([200, { status: 'healthy', draining: true }])
})

test('a hub whose store takes no writes is not ready, healthy nevertheless, and ready again when it does', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  await using traffic = await startTraffic({ redisUrl: redis.url })
  await traffic.flows()
  const [hub] = traffic.hubs
  await client.config('SET', 'maxmemory', '1mb')
  const full = { ready: false, reasons: [expect.stringContaining('OOM')] }
  await expect.poll(() => readiness(hub), { interval: 50, timeout: 5_000 }).toEqual(full)
  expect((await fetch(`${hub.httpUrl}/health`)).status).toBe(200)
  await client.config('SET', 'maxmemory', '0')
  await expect.poll(() => readiness(hub), { interval: 50, timeout: 5_000 }).toMatchObject({ ready: true })
  await traffic.flows()
  await traffic.stop()
  await traffic.complete()
  expect(traffic.disconnections).toBe(0)
})

test('a hub asks its store no more often than is of use', async () => {
  let asked = 0
  const wrap = (core: Core): Core => ({ ...core, problems: () => Promise.resolve([`asked ${(asked += 1)}`]) })
  await using mesh = await startMesh('memory', 1, {}, wrap)
  const answers = await Promise.all(Array.from({ length: 20 }, () => readiness(mesh.hub(0))))
  expect(answers.flatMap(({ reasons }) => reasons)).toEqual(Array.from({ length: 20 }, () => 'asked 1'))
})

test('a namespace whose part of the store is away keeps no other from what time does', async () => {
  const wrap = (core: Core): Core => {
    const due: Registry['due'] = (namespace, limit) =>
      namespace === 'broken'
        ? Promise.reject(new MeshError('store_unavailable', 'gone'))
        : core.registry.due(namespace, limit)
    const registry = new Proxy(core.registry, {
      get(target, member) {
        if (member === 'due') return due
        const value: unknown = Reflect.get(target, member, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    return { ...core, registry }
  }
  await using mesh = await startMesh('memory', 1, { graceMs: 50 }, wrap)
  await using other = await join(mesh.hub(0), 'other', { namespace: 'broken' })
  const alice = await join(mesh.hub(0), 'alice')
  await alice.cut()
  expect(await seen(mesh.hub(0), 'alice', ({ status }) => status === 'offline')).toMatchObject({
    id: 'alice',
  })
  await other.roundTrip()
})

test('a hub without a store does not start, and says where it looked', async () => {
  const start = startHub({ port: 0, logLevel: 'silent', redisUrl: 'redis://me:secret@127.0.0.1:1/2' })
  await expect(start).rejects.toThrow(/Redis at 127\.0\.0\.1:1\/2 does not let this hub in \(.*ECONNREFUSED/)
  await expect(start).rejects.not.toThrow(/secret/)
})
