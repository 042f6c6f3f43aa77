import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { startHub } from '../../src/server.ts'
import { connectAgent } from '../support/agent.ts'
import { newStore, startMesh } from '../support/hubs.ts'
import { startRedis } from '../support/redis.ts'
import { MeshClient } from '../support/spec-ai.ts'

const QUIET = { port: 0, logLevel: 'silent' as const }

test('D12 registrations, times and inboxes outlive the hub, whatever hub comes next', async () => {
  const store = await newStore('redis')
  const first = await startHub({ ...QUIET, ...store })
  const before = new MeshClient(first)
  await before.register('m1')
  await before.register('m2')
  await before.send('m1', 'm2', 'kept')
  const { instances } = await before.list()
  await first.close()
  await using second = await startHub({ ...QUIET, ...store })
  const after = new MeshClient(second)
  expect(await after.list()).toEqual({ instances, leader_id: 'm1' })
  expect((await after.beat('m2')).json).toEqual({ acknowledged: true, leader_id: 'm1', should_sync: false })
  expect(await after.payloads('m2')).toEqual(['kept'])
})

test('a hub that starts gives everybody their whole time before it calls them silent', async () => {
  const store = await newStore('redis')
  const settings = { ...QUIET, ...store, httpStaleMs: 1_500 }
  const first = await startHub(settings)
  await new MeshClient(first).register('m1')
  await first.close()
  await delay(2_000)
  await using second = await startHub(settings)
  const client = new MeshClient(second)
  await delay(700)
  expect(await client.ids()).toEqual(['m1'])
  await expect.poll(() => client.ids(), { timeout: 5_000 }).toEqual([])
})

test('after an outage of the store nobody is offline for it', { timeout: 20_000 }, async () => {
  await using redis = await startRedis()
  await using hub = await startHub({ ...QUIET, redisUrl: redis.url, httpStaleMs: 2_000 })
  const client = new MeshClient(hub)
  await client.register('m1')
  await using watcher = await connectAgent(hub, { id: 'ws' })
  await watcher.request({ type: 'subscribe' })
  // Long enough for its silence to count, were it silent.
  for (let i = 0; i < 3; i++) {
    await delay(900)
    expect((await client.beat('m1')).status).toBe(200)
  }
  redis.pause()
  const refused = await client.beat('m1')
  expect([refused.status, refused.json]).toMatchObject([503, { code: 'store_unavailable' }])
  expect((await client.list()).instances).toHaveLength(2)
  redis.resume()
  await expect.poll(async () => (await client.beat('m1')).status, { timeout: 5_000 }).toBe(200)
  await delay(500)
  const events = watcher.waitingOf('event').map(({ event }) => event)
  expect(events).not.toContain('agent.status_changed')
})

test('D12 a heartbeat brings back a member that the store has lost with everything else', async () => {
  await using redis = await startRedis()
  await using hub = await startHub({ ...QUIET, redisUrl: redis.url })
  const client = new MeshClient(hub)
  await client.register('m1', { capabilities: ['a'], port: 77 })
  await client.register('m2')
  await client.register('m3')
  const { instances } = await client.list()
  const raw = new Redis(redis.url)
  await raw.flushall()
  raw.disconnect()
  for (const id of ['m2', 'm1']) {
    await expect.poll(async () => (await client.beat(id)).status, { timeout: 5_000 }).toBe(200)
  }
  const known = instances.filter((one) => one.instance_id !== 'm3')
  expect((await client.list()).instances).toMatchObject(
    known.map(({ instance_id, port, capabilities, created_at }) => ({
      instance_id,
      port,
      capabilities,
      created_at,
    })),
  )
  expect((await client.list()).leader_id).not.toBe(null)
  // One that leaves meanwhile stays away.
  expect((await client.deregister('m3')).status).toBe(204)
  expect((await client.beat('m3')).status).toBe(404)
  expect((await client.beat('never')).status).toBe(404)
})

test('a member of a hub that is drained is served to the end, and by the next one as before', async () => {
  await using mesh = await startMesh('redis', 2)
  const near = new MeshClient(mesh.hub(0))
  const far = new MeshClient(mesh.hub(1))
  await near.register('m1')
  await mesh.hub(0).drain()
  expect((await near.beat('m1')).status).toBe(200)
  await mesh.hub(0).close()
  expect((await far.beat('m1')).status).toBe(200)
  expect(await far.ids()).toEqual(['m1'])
})
