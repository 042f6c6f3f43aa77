import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type Settings } from '../../src/config.ts'
import { scrape } from '../support/metrics.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { PLACES, startSpan } from '../support/talk.ts'

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}){0,3}Z$/
const OVERFLOW = { reason: 'inbox_overflow' }

describe.each(PLACES)('spec-ai over HTTP on %s, %i hub(s):', (core, hubs) => {
  async function start(settings: Partial<Settings> = {}) {
    const mesh = await startSpan(core, hubs, settings)
    return { mesh, near: new MeshClient(mesh.near), far: new MeshClient(mesh.far) }
  }

  test('R1 registering answers who leads and everybody, the caller too', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const first = await near.register('m1', { agent_profiles: ['coder'] })
    expect(first).toEqual({
      success: true,
      instance_id: 'm1',
      is_leader: true,
      leader_id: 'm1',
      peers: [
        {
          instance_id: 'm1',
          hostname: '127.0.0.1',
          port: 3001,
          capabilities: ['query'],
          is_leader: true,
          last_heartbeat: expect.stringMatching(RFC3339) as string,
          created_at: expect.stringMatching(RFC3339) as string,
          agent_profiles: ['coder'],
        },
      ],
    })
    const second = await far.register('m2', { hostname: '', port: 0, capabilities: [] })
    expect(second).toMatchObject({ is_leader: false, leader_id: 'm1' })
    expect(second.peers.map((one) => one.instance_id)).toEqual(['m1', 'm2'])
    expect(second.peers[1]).toMatchObject({ hostname: '', port: 0, capabilities: [] })
  })

  test('R2 the list has who is registered, the eldest first, and the leader; empty it has none', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    expect(await near.list()).toEqual({ instances: [], leader_id: null })
    await near.register('m2')
    await delay(2)
    await far.register('m1')
    expect(await near.ids()).toEqual(['m2', 'm1'])
    expect(await far.list()).toEqual(await near.list())
  })

  test('R2 of those that registered within a millisecond, too, the first one stands first and follows', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    // Several of so many are registered within one millisecond, with ids that do not grow.
    const registers = Array.from({ length: 40 }, (_unused, i) => near.register(`m${99 - i}`))
    await Promise.all(registers)
    const ids = await far.ids()
    for (const [i, id] of ids.entries()) {
      expect((await near.list()).leader_id).toBe(id)
      await near.deregister(id)
      expect(await far.ids()).toEqual(ids.slice(i + 1))
    }
  })

  test('R3 a heartbeat is answered 200 with the leader, on any hub, and the list shows its time', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const { peers } = await near.register('m1')
    await delay(5)
    for (const body of [
      { status: 'healthy', metrics: null },
      { status: '' },
      { status: 'x', metrics: { load: 1 } },
    ]) {
      const { status, json } = await far.beat('m1', body)
      expect([status, json]).toEqual([200, { acknowledged: true, leader_id: 'm1', should_sync: false }])
    }
    const before = peers[0]?.last_heartbeat ?? ''
    await expect
      .poll(async () => (await near.list()).instances[0]?.last_heartbeat)
      .toSatisfy((time: string) => time > before)
  })

  test('R3 a heartbeat of an id never seen or deregistered is 404 with the same shape', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const empty = await near.beat('nobody')
    expect([empty.status, empty.json]).toEqual([
      404,
      { acknowledged: false, leader_id: null, should_sync: false },
    ])
    await near.register('m1')
    await near.register('m2')
    await far.deregister('m2')
    const gone = await near.beat('m2')
    expect(gone.headers.get('content-type')).toBe('application/json')
    expect([gone.status, gone.json]).toEqual([
      404,
      { acknowledged: false, leader_id: 'm1', should_sync: false },
    ])
  })

  test('R4 deregistering is 204 and empty, and 404 and empty for who is not there', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    const first = await far.deregister('m1')
    expect([first.status, first.text]).toEqual([204, ''])
    expect(await near.ids()).toEqual([])
    const again = await near.deregister('m1')
    expect([again.status, again.text]).toEqual([404, ''])
  })

  test('M1 a message is queued for its target and read as it was sent', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.register('m2')
    const body = { message_type: 'TaskDelegation', correlation_id: 'task-7' }
    const sent = await near.send('m1', 'm2', { a: [1, null, { ü: '✓' }] }, body)
    expect(sent).toEqual({
      message_id: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ) as string,
      status: 'queued',
      delivered_to: ['m2'],
    })
    expect(await far.messages('m2')).toEqual([
      {
        message_id: sent.message_id,
        source_instance: 'm1',
        target_instance: 'm2',
        message_type: 'TaskDelegation',
        payload: { a: [1, null, { ü: '✓' }] },
        correlation_id: 'task-7',
        created_at: expect.stringMatching(RFC3339) as string,
      },
    ])
    expect(await far.messages('m1')).toEqual([])
  })

  test('M1 target and correlation may be absent or null, a null payload is one, and a source need not be registered', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    const path = '/messages/send/stranger'
    const absent = await near.request('POST', path, { message_type: 'Query', payload: null })
    expect(absent).toMatchObject({ status: 200, json: { delivered_to: ['m1'] } })
    await near.send('stranger', 'm1', 1)
    expect(await far.messages('m1')).toMatchObject([
      { source_instance: 'stranger', target_instance: null, payload: null, correlation_id: null },
      { source_instance: 'stranger', target_instance: 'm1', payload: 1, correlation_id: null },
    ])
  })

  test('M1 an unknown target is 400 with its name', async () => {
    const { mesh, near } = await start()
    await using _ = mesh
    const body = { target_instance: "o'x", message_type: 'Query', payload: {} }
    const { status, json, headers } = await near.request('POST', '/messages/send/m1', body)
    expect(status).toBe(400)
    expect(json).toMatchObject({ error: "Target instance 'o'x' not found" })
    expect(headers.get('content-type')).toBe('application/json')
  })

  test('M2 reading takes nothing, M3 does, and says 204 for whatever ids and whoever', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.send('x', 'm1', 1)
    const second = await near.send('x', 'm1', 2)
    expect(await far.payloads('m1')).toEqual([1, 2])
    expect(await near.payloads('m1')).toEqual([1, 2])
    await far.acknowledge('m1', [second.message_id, 'unknown'])
    await far.acknowledge('nobody', [second.message_id])
    await far.acknowledge('m1', [])
    expect(await near.payloads('m1')).toEqual([1])
  })

  test('H1 health is what spec-ai answers, with more', async () => {
    const { mesh, near } = await start()
    await using _ = mesh
    const { status, text } = await near.request('GET', '/health')
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({
      status: 'healthy',
      version: expect.any(String) as string,
      uptime_seconds: expect.any(Number) as number,
      active_sessions: 0,
    })
  })

  test('D1 one that acknowledges a broadcast takes it from nobody else', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    for (const id of ['m1', 'm2', 'm3']) await near.register(id)
    const { message_id: id } = await far.send('m1', null, 'all')
    await near.acknowledge('m2', [id])
    expect(await far.payloads('m2')).toEqual([])
    expect(await far.payloads('m3')).toEqual(['all'])
  })

  test("D2 nobody acknowledges another one's message away", async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.register('m2')
    const { message_id: id } = await near.send('m1', 'm2', 'mine')
    await far.acknowledge('m1', [id])
    expect(await near.payloads('m2')).toEqual(['mine'])
  })

  test('D3 a leader that registers again leads on, and all tell the same leader', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.register('m2')
    expect(await far.register('m1')).toMatchObject({ is_leader: true, leader_id: 'm1' })
    expect(await near.ids()).toEqual(['m1', 'm2'])
    expect((await near.beat('m2')).json.leader_id).toBe('m1')
    await far.deregister('m1')
    expect((await near.list()).leader_id).toBe('m2')
    expect(await near.register('m2')).toMatchObject({ is_leader: true, leader_id: 'm2' })
    expect((await far.list()).leader_id).toBe('m2')
  })

  test('D4 the one that has been registered for longest follows, however often', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const ids = ['z', 'm', 'a', 'q', 'b']
    for (const id of ids) await near.register(id)
    for (let gone = 0; gone < ids.length - 1; gone++) {
      await far.deregister(ids[gone] ?? '')
      expect((await near.list()).leader_id).toBe(ids[gone + 1])
    }
  })

  test('D5 what an unknown target was refused is nowhere, should it register later', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const body = { target_instance: 'late', message_type: 'Query', payload: {} }
    expect((await near.request('POST', '/messages/send/x', body)).status).toBe(400)
    await far.register('late')
    expect(await near.messages('late')).toEqual([])
  })

  test('D6 a sender is left out of its broadcast', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    for (const id of ['m1', 'm2', 'm3']) await near.register(id)
    const { delivered_to: to } = await far.send('m1', null, 'all')
    expect(to.toSorted()).toEqual(['m2', 'm3'])
    expect(await far.messages('m1')).toEqual([])
    expect(await far.messages('m2')).toMatchObject([{ payload: 'all', target_instance: null }])
  })

  test('D6 a broadcast of the only member goes to nobody', async () => {
    const { mesh, near } = await start()
    await using _ = mesh
    await near.register('m1')
    expect((await near.send('m1', null)).delivered_to).toEqual([])
  })

  test('D7 who comes later gets no earlier broadcast', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.register('m2')
    expect((await far.send('m1', null, 'early')).delivered_to).toEqual(['m2'])
    await near.register('m3')
    expect(await far.messages('m3')).toEqual([])
    expect((await far.send('m1', null, 'late')).delivered_to.toSorted()).toEqual(['m2', 'm3'])
    expect(await near.payloads('m3')).toEqual(['late'])
  })

  test('D8 an id that is not registered reads nothing', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    await near.send('x', null, 'all')
    expect(await far.messages('nobody')).toEqual([])
    await near.deregister('m1')
    expect(await far.messages('m1')).toEqual([])
  })

  test('D9 the other path of an acknowledgement does the same', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    const { message_id: id } = await near.send('x', 'm1', 1)
    const { status, text } = await far.request('POST', '/messages/m1/ack', { message_ids: [id] })
    expect([status, text]).toEqual([204, ''])
    expect(await near.messages('m1')).toEqual([])
  })

  test('D10 registering again keeps the first time and refreshes the rest, inbox and all', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    const first = (await near.register('m1')).peers[0]
    await near.send('x', 'm1', 'kept')
    await delay(5)
    const again = (await far.register('m1', { port: 4000, capabilities: ['a', 'b'] })).peers[0]
    expect(again).toMatchObject({ created_at: first?.created_at, port: 4000, capabilities: ['a', 'b'] })
    expect(Date.parse(again?.last_heartbeat ?? '')).toBeGreaterThan(Date.parse(first?.last_heartbeat ?? ''))
    expect(await near.payloads('m1')).toEqual(['kept'])
  })

  test.each(['', 'send', 'ack', 'x'.repeat(257)])('D11 no path reaches the id %j: 422', async (id) => {
    const { mesh, near } = await start()
    await using _ = mesh
    const body = { instance_id: id, hostname: '', port: 1, capabilities: [], agent_profiles: [] }
    const { status, text } = await near.request('POST', '/registry/register', body)
    expect(status).toBe(422)
    expect(text).toMatch(/^Failed to deserialize the JSON body into the target type: .*id/)
    expect(await near.ids()).toEqual([])
  })

  test('D12 a silent member is listed no more, and its next heartbeat is 200 and lists it again', async () => {
    const { mesh, near, far } = await start({ httpStaleMs: 400 })
    await using _ = mesh
    await near.register('m1')
    await near.register('m2')
    const beats: Promise<unknown>[] = []
    const keep = setInterval(() => beats.push(far.beat('m2')), 100)
    try {
      await expect.poll(() => near.ids(), { timeout: 5_000 }).toEqual(['m2'])
      expect((await far.list()).leader_id).toBe('m2')
      await near.send('m2', 'm1', 'while it was away')
      const { status, json } = await far.beat('m1')
      expect([status, json]).toEqual([200, { acknowledged: true, leader_id: 'm2', should_sync: false }])
      expect(await near.ids()).toEqual(['m1', 'm2'])
      expect(await near.payloads('m1')).toEqual(['while it was away'])
    } finally {
      clearInterval(keep)
      // The last one is answered before its hub closes.
      await Promise.all(beats)
    }
  })

  test('D12 the only member comes back as the leader', async () => {
    const { mesh, near, far } = await start({ httpStaleMs: 300 })
    await using _ = mesh
    await near.register('m1')
    await expect.poll(() => near.list(), { timeout: 5_000 }).toEqual({ instances: [], leader_id: null })
    expect((await far.beat('m1')).json).toEqual({ acknowledged: true, leader_id: 'm1', should_sync: false })
    expect(await near.ids()).toEqual(['m1'])
  })

  test('D12 after the retention period a heartbeat is 404', async () => {
    const { mesh, near, far } = await start({ httpStaleMs: 200, retentionMs: 200 })
    await using _ = mesh
    await near.register('m1')
    const observed = async () => (await (await mesh.store()).registry.snapshot('default')).agents.length
    await expect.poll(observed, { timeout: 5_000 }).toBe(0)
    expect((await far.beat('m1')).status).toBe(404)
  })

  test('D13 an inbox keeps its latest entries and refuses nobody; the rest are dead letters', async () => {
    const { mesh, near, far } = await start({ httpInboxMax: 3, inboxMax: 2 })
    await using _ = mesh
    await near.register('m1')
    for (let i = 1; i <= 6; i++) await (i % 2 ? near : far).send('x', i % 3 ? 'm1' : null, i)
    expect(await near.payloads('m1')).toEqual([4, 5, 6])
    const { deadLetters } = await mesh.store()
    await expect
      .poll(async () => (await deadLetters.list('default', null, 10)).map(({ reason }) => reason), {
        timeout: 5_000,
      })
      .toEqual(['inbox_overflow', 'inbox_overflow', 'inbox_overflow'])
    // By its own name, which the alert about messages given up goes by.
    for (const hub of mesh.hubs)
      await expect
        .poll(async () => (await scrape(hub)).value('meshwire_dead_letters_added_total', OVERFLOW))
        .toBe(3)
  })

  test('D13 an entry is gone after its time', async () => {
    const { mesh, near, far } = await start({ httpMessageTtlMs: 100 })
    await using _ = mesh
    await near.register('m1')
    await near.send('x', 'm1', 1)
    await expect.poll(() => far.messages('m1'), { timeout: 5_000 }).toEqual([])
  })

  test('D15 no page of another origin is let in', async () => {
    const { mesh, near } = await start()
    await using _ = mesh
    const { headers } = await near.request('GET', '/registry/agents')
    expect(headers.get('access-control-allow-origin')).toBe(null)
    expect((await near.request('OPTIONS', '/registry/agents')).status).toBe(405)
  })

  test('D20 what is sent one after another is read in that order, direct and to all, with growing ids', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    await near.register('m1')
    const ids: string[] = []
    for (let i = 0; i < 40; i++) {
      const { message_id: id } = await (hubs === 2 && i % 5 === 4 ? far : near).send(
        'x',
        i % 2 ? 'm1' : null,
        i,
      )
      if (hubs === 1 || i % 5 !== 4) ids.push(id)
    }
    expect(await far.payloads('m1')).toEqual(Array.from({ length: 40 }, (_, i) => i))
    expect(ids).toEqual(ids.toSorted())
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('ids are percent-decoded, whatever they are', async () => {
    const { mesh, near, far } = await start()
    await using _ = mesh
    for (const id of ['a b', 'ü/✓', '100%', 'a?b#c', '__proto__', 'line\nbreak', 'q\'uo"te']) {
      const path = encodeURIComponent(id)
      await near.register(id)
      expect((await far.beat(path)).status, id).toBe(200)
      expect((await near.send(path, id, id)).delivered_to).toEqual([id])
      const [message] = await far.messages(path)
      expect(message).toMatchObject({ source_instance: id, target_instance: id, payload: id })
      await near.acknowledge(path, [message?.message_id ?? ''])
      expect(await far.messages(path)).toEqual([])
      expect((await near.deregister(path)).status).toBe(204)
    }
    await near.register('100%')
    expect((await near.beat('100%')).status).toBe(200)
  })
})
