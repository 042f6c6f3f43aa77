import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { Core } from '../../src/core/core.ts'
import { MeshError } from '../../protocol/errors.ts'
import { DEAD_REASONS } from '../../protocol/message.ts'
import { METRICS } from '../../src/observability/metric-table.ts'
import { Api, json } from '../support/api.ts'
import { startMesh, startTestHub, CORES } from '../support/hubs.ts'
import { scrape, type Samples } from '../support/metrics.ts'
import { ROOT } from '../support/run.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { ack, asker, join, NLP, reconnect, seen, send, sendRefused } from '../support/talk.ts'

const LABELS = [
  ...new Set(Object.values(METRICS).flatMap(({ labels }) => labels as readonly string[])),
  'le',
] as const

describe.each(CORES)('GET /metrics, on %s', (core) => {
  test('tells what was sent, pushed, acknowledged and given back', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice', asker)
    await using bob = await join(hub, 'bob')
    await send(alice, { agent: 'bob' }, 'one')
    ack(bob, await bob.next('message'))
    await send(alice, { agent: 'bob' }, 'two')
    bob.send({ type: 'nack', id: (await bob.next('message')).id })
    const again = await bob.next('message')
    expect(again.attempt).toBe(2)
    ack(bob, again)
    await send(alice, NLP, 'work')
    ack(bob, await bob.next('message'))
    await send(alice, { all: true }, 'to all')
    ack(bob, await bob.next('message'))
    await send(alice, { agent: 'bob' }, 'now', { durability: 'transient' })
    await bob.next('message')
    await sendRefused(alice, { agent: 'nobody' }, 'x')
    await bob.roundTrip()

    const found = await scrape(hub)
    const sends = (kind: string, outcome: string) => found.value('meshwire_sends_total', { kind, outcome })
    expect([sends('direct', 'accepted'), sends('direct', 'refused')]).toEqual([2, 1])
    expect(['queue', 'broadcast', 'transient', 'reply'].map((kind) => sends(kind, 'accepted'))).toEqual([
      1, 1, 1, 0,
    ])
    const of = (noun: string) =>
      Object.fromEntries(
        ['direct', 'queue', 'broadcast', 'transient'].map((kind) => [
          kind,
          found.value(`meshwire_messages_${noun}_total`, { kind }),
        ]),
      )
    expect(of('pushed')).toEqual({ direct: 3, queue: 1, broadcast: 1, transient: 1 })
    expect(of('acknowledged')).toEqual({ direct: 2, queue: 1, broadcast: 1, transient: 0 })
    expect(of('redelivered')).toEqual({ direct: 1, queue: 0, broadcast: 0, transient: 0 })
    expect(of('rejected')).toEqual({ direct: 1, queue: 0, broadcast: 0, transient: 0 })
    expect(found.value('meshwire_errors_total', { code: 'unknown_target' })).toBe(1)

    const delivered = (kind: string, path: string) =>
      found.value('meshwire_delivery_seconds_count', { kind, path })
    expect(delivered('direct', 'signal')).toBe(2)
    expect([
      delivered('queue', 'claim'),
      delivered('broadcast', 'signal'),
      delivered('transient', 'signal'),
    ]).toEqual([1, 1, 1])
    expect(found.value('meshwire_processing_seconds_count', { kind: 'direct' })).toBe(2)
    expect(found.value('meshwire_processing_seconds_count', { kind: 'queue' })).toBe(1)
    expect(found.value('meshwire_store_seconds_count', { operation: 'sends.store' })).toBeGreaterThan(0)
  })

  test('tells who is there, what waits, and what was given up', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice', asker)
    await using bob = await join(hub, 'bob', { window: 2, ...asker })
    for (let i = 0; i < 5; i++) await send(alice, { agent: 'bob' }, i)
    await bob.next('message')
    bob.send({ type: 'nack', id: (await bob.next('message')).id, requeue: false, reason: 'said by bob' })
    await send(alice, { capability: 'ocr' }, 'work')
    await send(alice, { capability: 'vision' }, 'work')
    await using watcher = await join(hub, 'carol')
    await watcher.close()
    await expect
      .poll(async () => (await scrape(hub)).value('meshwire_dead_letters', { namespace: 'default' }), {
        timeout: 5_000,
      })
      .toBe(1)
    const found = await scrape(hub)
    expect(found.value('meshwire_connections', { state: 'agent' })).toBe(2)
    expect(found.value('meshwire_sessions')).toBe(2)
    expect(found.value('meshwire_connections_opened_total')).toBe(3)
    expect(found.value('meshwire_connections_closed_total', { by: 'client', code: '1000' })).toBe(1)
    expect(found.value('meshwire_agents', { namespace: 'default', status: 'online' })).toBe(3)
    expect(found.value('meshwire_window_messages')).toBe(2)
    expect(found.value('meshwire_window_messages_max')).toBe(2)
    expect(found.value('meshwire_inbox_messages')).toBe(2)
    expect(found.value('meshwire_queues', { namespace: 'default' })).toBe(2)
    expect(found.value('meshwire_queue_messages', { namespace: 'default' })).toBe(2)
    expect(found.value('meshwire_queue_oldest_seconds', { namespace: 'default' })).toBeGreaterThan(0)
    expect(found.value('meshwire_dead_letters_added_total', { reason: 'rejected' })).toBe(1)
    expect(found.value('meshwire_store_up')).toBe(1)
    expect(found.value('meshwire_hub_draining')).toBe(0)
    expect(found.value('nodejs_eventloop_lag_p99_seconds')).toBeDefined()
    expect(found.value('process_cpu_seconds_total')).toBeGreaterThan(0)
  })

  test('tells what is sent over HTTP, and what is refused there', async () => {
    await using hub = await startTestHub(core, { inboxMax: 2 })
    await using bob = await join(hub, 'bob', { window: 1, ...asker })
    const api = new Api(hub)
    const post = (to: object, more: object = {}) =>
      api.request('POST', '/messages', json({ to, messageType: 'notification', payload: 1, ...more }))
    for (const status of [202, 202, 429]) expect((await post({ agent: 'bob' })).status).toBe(status)
    expect((await post({ agent: 'nobody' })).status).toBe(404)
    expect((await post({ all: true })).status).toBe(202)
    expect((await post({ capability: 'ocr' })).status).toBe(202)
    expect((await post({ agent: 'bob' }, { from: 'bob' })).status).toBe(409)
    expect((await post({ agent: 'bob' }, { messageType: 'UPPER' })).status).toBe(422)
    const member = new MeshClient(hub)
    await member.register('m1')
    await member.register('m2')
    await member.send('m1', 'm2')
    await member.send('m1', null)
    await expect(member.send('m1', 'nobody')).rejects.toThrow('400')
    expect((await member.request('POST', '/messages/send/m1', '{', {})).status).toBe(415)
    await bob.next('message')
    const found = await scrape(hub)
    const sends = (kind: string, outcome: string) => found.value('meshwire_sends_total', { kind, outcome })
    expect([sends('direct', 'accepted'), sends('direct', 'refused')]).toEqual([3, 4])
    expect([sends('broadcast', 'accepted'), sends('queue', 'accepted')]).toEqual([2, 1])
    const errors = (code: string) => found.value('meshwire_errors_total', { code })
    expect([errors('inbox_full'), errors('unknown_target')]).toEqual([1, 2])
    expect([errors('agent_taken'), errors('invalid_body')]).toEqual([1, 1])
    expect(errors('unsupported_media_type')).toBe(1)
  })
})

test('requests over their rate, and without a token that counts, are errors by their codes', async () => {
  await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 2 })
  const statuses = await Promise.all(
    ['/api/v1/agents', '/registry/agents', '/metrics', '/api/v1/agents', '/registry/agents'].map(
      async (path) => (await fetch(hub.httpUrl + path)).status,
    ),
  )
  expect(statuses.filter((status) => status === 429)).toHaveLength(3)
  const text = await hub.metrics()
  expect(text).toContain('meshwire_errors_total{code="rate_limited"} 3')
})

test('the reasons for which hubs give messages up are told apart, all of those of the protocol', async () => {
  await using hub = await startTestHub('memory', { httpInboxMax: 1 })
  const member = new MeshClient(hub)
  await member.register('m1')
  await member.register('m2')
  for (let i = 0; i < 3; i++) await member.send('m1', 'm2', i)
  await expect
    .poll(async () =>
      (await scrape(hub)).value('meshwire_dead_letters_added_total', { reason: 'inbox_overflow' }),
    )
    .toBe(2)
  const protocol = readFileSync(`${ROOT}/docs/PROTOCOL.md`, 'utf8')
  const [, list = ''] = /Reasons where no `nack` gave one: ([^.]+)\./.exec(protocol) ?? []
  expect([...list.matchAll(/`(\w+)`/g)].map(([, reason]) => reason)).toEqual([...DEAD_REASONS])
  expect((await scrape(hub)).valuesOf('reason')).toEqual(
    new Set([...DEAD_REASONS, 'rejected', 'rate', 'behind', 'store']),
  )
})

test('what an agent missed counts as read, what is pushed to it again as redelivered', async () => {
  await using hub = await startTestHub('memory')
  await using alice = await join(hub, 'alice', asker)
  const first = await join(hub, 'bob')
  await send(alice, { agent: 'bob' }, 'seen')
  await first.next('message')
  await first.cut()
  await seen(hub, 'bob', ({ connected }) => !connected)
  await send(alice, { agent: 'bob' }, 'missed')
  await using bob = await reconnect(hub, first)
  ack(bob, await bob.next('message'))
  ack(bob, await bob.next('message'))
  await bob.roundTrip()
  const found = await scrape(hub)
  expect(found.value('meshwire_delivery_seconds_count', { kind: 'direct', path: 'signal' })).toBe(1)
  expect(found.value('meshwire_delivery_seconds_count', { kind: 'direct', path: 'read' })).toBe(1)
  expect(found.value('meshwire_messages_redelivered_total', { kind: 'direct' })).toBe(1)
})

test('what clients choose is no label, however many names they choose', async () => {
  await using hub = await startTestHub('memory')
  const agents = await Promise.all(
    Array.from({ length: 60 }, (_, i) => join(hub, `agent-${i}`, { namespace: `n${i}` })),
  )
  const found = await scrape(hub)
  expect(found.value('meshwire_namespaces')).toBe(60)
  const names = found.valuesOf('namespace')
  expect(names.size).toBe(51)
  expect(found.value('meshwire_agents', { namespace: '_other', status: 'online' })).toBe(10)
  expect(found.text).not.toContain('agent-1')
  for (const agent of agents) await agent.close()
  const own = found.text.split('\n').filter((line) => line.startsWith('meshwire_'))
  for (const line of own)
    for (const [, label = ''] of line.matchAll(/[{,](\w+)="/g)) expect(LABELS).toContain(label)
})

test('refused handshakes, close codes and connections over their rate are counted', async () => {
  await using hub = await startTestHub('memory', { ratePerSecond: 100, rateBurst: 1 })
  const refused = new WebSocket(hub.url.replace('/mesh', '/elsewhere'))
  await new Promise((resolve) => refused.once('error', resolve))
  await using alice = await join(hub, 'alice')
  await Promise.all([alice.roundTrip(), alice.roundTrip()])
  alice.raw(Buffer.from('x'))
  await alice.closed
  const found = await scrape(hub)
  expect(found.value('meshwire_handshakes_refused_total', { status: '404' })).toBe(1)
  expect(found.value('meshwire_connections_closed_total', { by: 'hub', code: '1003' })).toBe(1)
  expect(found.value('meshwire_connection_holds_total', { reason: 'rate' })).toBeGreaterThan(0)
})

describe('a store that fails', () => {
  const failing =
    (answer: () => Promise<never>) =>
    (core: Core): Core => {
      const silent = <Port extends object>(port: Port, members: readonly string[]): Port =>
        new Proxy(port, {
          get(target, member) {
            if (members.includes(String(member))) return answer
            const value: unknown = Reflect.get(target, member, target)
            return typeof value === 'function' ? (value.bind(target) as unknown) : value
          },
        })
      return {
        ...core,
        queues: silent(core.queues, ['backlog']),
        deadLetters: silent(core.deadLetters, ['count']),
        problems: answer,
      }
    }

  const check = (found: Samples): void => {
    expect(found.value('meshwire_store_up')).toBe(0)
    expect(found.value('meshwire_queue_messages', { namespace: 'default' })).toBeUndefined()
    expect(found.value('meshwire_agents', { namespace: 'default', status: 'online' })).toBe(1)
    expect(found.value('meshwire_sends_total', { kind: 'direct', outcome: 'accepted' })).toBe(1)
  }

  test('leaves all that the hub knows itself, and says so', async () => {
    const wrap = failing(() => Promise.reject(new MeshError('store_unavailable', 'gone')))
    await using mesh = await startMesh('memory', 1, {}, wrap)
    await using alice = await join(mesh.hub(0), 'alice')
    await send(alice, { agent: 'alice' }, 'x')
    const found = await scrape(mesh.hub(0))
    check(found)
    expect(found.value('meshwire_store_failures_total', { operation: 'queues.backlog' })).toBe(1)
  })

  test('or does not answer is waited for no longer than about 2 s', async () => {
    const wrap = failing(() => new Promise(() => undefined))
    await using mesh = await startMesh('memory', 1, {}, wrap)
    await using alice = await join(mesh.hub(0), 'alice')
    await send(alice, { agent: 'alice' }, 'x')
    const startedAt = performance.now()
    const [found] = await Promise.all([scrape(mesh.hub(0)), scrape(mesh.hub(0)), scrape(mesh.hub(0))])
    expect(performance.now() - startedAt).toBeLessThan(3_500)
    check(found)
  })
})

test('with --metrics off nothing answers', async () => {
  await using hub = await startTestHub('memory', { metrics: 'off' })
  await using alice = await join(hub, 'alice')
  await send(alice, { agent: 'alice' }, 'x')
  ack(alice, await alice.next('message'))
  expect((await fetch(`${hub.httpUrl}/metrics`)).status).toBe(404)
  expect(await hub.metrics()).toBe('')
})

test('two hubs of one process count each for itself', async () => {
  await using mesh = await startMesh('memory', 2)
  await using alice = await join(mesh.hub(0), 'alice')
  await send(alice, { agent: 'alice' }, 'x')
  expect(
    (await scrape(mesh.hub(0))).value('meshwire_sends_total', { kind: 'direct', outcome: 'accepted' }),
  ).toBe(1)
  const other = await scrape(mesh.hub(1))
  expect(other.value('meshwire_sends_total', { kind: 'direct', outcome: 'accepted' })).toBe(0)
  expect(other.text).toContain(`hub="${mesh.hub(1).id}"`)
})
