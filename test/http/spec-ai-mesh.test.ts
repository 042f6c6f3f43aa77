import { describe, expect, test } from 'vitest'
import { connect } from '../../client/node.ts'
import type { Settings } from '../../src/config.ts'
import { connectObserver } from '../support/agent.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { discoverAll, join, PLACES, receive, send, sendRefused, startSpan } from '../support/talk.ts'

const UNITS = {
  Query: 'query',
  Response: 'response',
  Notification: 'notification',
  TaskDelegation: 'task_delegation',
  TaskResult: 'task_result',
  GraphSync: 'graph_sync',
  CapabilityUpdate: 'capability_update',
  CapabilityQuery: 'capability_query',
  LearningShare: 'learning_share',
  ProposalSubmit: 'proposal_submit',
  ProposalVote: 'proposal_vote',
  WorkflowAssignment: 'workflow_assignment',
  WorkflowStageResult: 'workflow_stage_result',
}

const nested = (depth: number): unknown => {
  let value: unknown = 0
  for (let i = 0; i < depth; i++) value = [value]
  return value
}

describe.each(PLACES)(
  'members over HTTP and agents with a connection are one mesh on %s, %i hub(s):',
  (core, hubs) => {
    async function start(settings: Partial<Settings> = {}) {
      const mesh = await startSpan(core, hubs, settings)
      return { mesh, near: new MeshClient(mesh.near), far: new MeshClient(mesh.far) }
    }

    test('either sees the other', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws', {
        capabilities: ['nlp'],
        profiles: ['coder'],
        address: '10.0.0.5:9000',
      })
      await far.register('m 1', {
        hostname: 'fe80::1',
        port: 3002,
        capabilities: ['Free Text'],
        agent_profiles: ['x'],
      })
      expect((await near.list()).instances).toMatchObject([
        {
          instance_id: 'ws',
          hostname: '10.0.0.5',
          port: 9000,
          capabilities: ['nlp'],
          agent_profiles: ['coder'],
          is_leader: true,
        },
        {
          instance_id: 'm 1',
          hostname: 'fe80::1',
          port: 3002,
          capabilities: ['Free Text'],
          agent_profiles: ['x'],
        },
      ])
      const [seen] = await discoverAll(ws, { capabilities: { all: ['Free Text'] } })
      expect(seen).toMatchObject({
        id: 'm 1',
        name: 'm 1',
        transport: 'http',
        status: 'online',
        connected: false,
        hub: null,
        address: 'fe80::1:3002',
        metadata: { peer: '127.0.0.1' },
      })
    })

    test('an agent that says nothing of an address has no host and port 0', async () => {
      const { mesh, far } = await start()
      await using _ = mesh
      await using __ = await join(mesh.near, 'ws')
      expect((await far.list()).instances).toMatchObject([{ hostname: '', port: 0 }])
    })

    test('D3 one leader for all: members and agents, in the order they came', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await far.register('m1')
      await using ws = await join(mesh.near, 'ws')
      expect(ws.welcome.leader).toMatchObject({ agentId: 'm1' })
      await near.deregister('m1')
      expect((await far.list()).leader_id).toBe('ws')
      expect((await far.register('m2')).leader_id).toBe('ws')
      await ws.request({ type: 'bye' })
      await expect.poll(() => near.ids()).toEqual(['m2'])
    })

    test('who may not lead is listed like anybody, and leads nobody', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await using __ = await join(mesh.near, 'tab', { ephemeral: true })
      expect(await far.list()).toMatchObject({
        instances: [{ instance_id: 'tab', is_leader: false }],
        leader_id: null,
      })
      expect(await near.register('m1')).toMatchObject({ is_leader: true, leader_id: 'm1' })
      expect(await far.ids()).toEqual(['tab', 'm1'])
      await near.deregister('m1')
      expect(await far.ids()).toEqual(['tab'])
    })

    test('one that is degraded is listed, whoever else is there', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await far.register('m1')
      await using ws = await join(mesh.near, 'ws')
      await ws.request({ type: 'update', status: 'degraded' })
      await near.deregister('m1')
      expect(await far.ids()).toEqual(['ws'])
    })

    test('a request of the bundled client is answered by a member', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await far.register('m1')
      await using agent = await connect({
        url: mesh.near.url,
        name: 'asker',
        id: 'asker',
        capabilities: ['nlp'],
      })
      const answer = agent.request({ agent: 'm1' }, { q: '2+2' })
      await expect.poll(() => far.messages('m1')).toHaveLength(1)
      const [query] = await far.messages('m1')
      expect(query).toMatchObject({
        source_instance: 'asker',
        target_instance: 'm1',
        message_type: 'Query',
        payload: { q: '2+2' },
        correlation_id: expect.any(String) as string,
      })
      const response = { message_type: 'Response', correlation_id: query?.correlation_id }
      await far.send('m1', 'asker', { a: 4 }, response)
      expect((await answer).payload).toEqual({ a: 4 })
      await near.acknowledge('m1', [query?.message_id ?? ''])
      expect(await far.messages('m1')).toEqual([])
    })

    test("a member's query is answered by a handler of the bundled client", async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('m1')
      await using agent = await connect({
        url: mesh.far.url,
        name: 'worker',
        id: 'worker',
        capabilities: ['nlp'],
      })
      agent.onMessage('query', ({ payload }) => ({ echoed: payload }))
      await near.send('m1', 'worker', 'hello', { message_type: 'Query', correlation_id: 'c-1' })
      await expect.poll(() => near.messages('m1')).toHaveLength(1)
      expect(await far.messages('m1')).toMatchObject([
        {
          source_instance: 'worker',
          message_type: 'Response',
          correlation_id: 'c-1',
          payload: { echoed: 'hello' },
        },
      ])
    })

    test('broadcasts go both ways, and in one order with what is sent to one', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws')
      await far.register('m1')
      await far.register('m2')
      for (let i = 0; i < 20; i++) {
        const { recipients } = await send(ws, i % 2 ? { all: true } : 'm1', i)
        expect(recipients).toBe(i % 2 ? 2 : 1)
      }
      expect(await far.payloads('m1')).toEqual(Array.from({ length: 20 }, (_, i) => i))
      expect((await far.payloads('m2')).length).toBe(10)
      expect((await far.send('m1', null, 'from m1')).delivered_to.toSorted()).toEqual(['m2', 'ws'])
      expect(await receive(ws, 1)).toMatchObject([
        { from: 'm1', via: 'broadcast', messageType: 'notification', payload: 'from m1' },
      ])
      expect((await near.payloads('m2')).at(-1)).toBe('from m1')
    })

    test('broadcasts sent without waiting for answers keep their order with what follows', async () => {
      const { mesh, far } = await start()
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws', { producer: 'p' })
      await far.register('m1')
      const answers = Array.from({ length: 200 }, (_, i) =>
        send(ws, i % 3 ? 'm1' : { all: true }, i, { seq: i + 1 }),
      )
      await Promise.all(answers)
      expect(await far.payloads('m1')).toEqual(Array.from({ length: 200 }, (_, i) => i))
    })

    test('members that come while broadcasts are on their way miss none after their registration, and no order breaks', async () => {
      const { mesh, near, far } = await start({ httpInboxMax: 10_000 })
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws', { producer: 'p' })
      await near.register('m0')
      const total = 900
      const answers: Promise<unknown>[] = []
      const members: Promise<string>[] = []
      for (let i = 0; i < total; i++) {
        answers.push(send(ws, i % 4 === 3 ? 'm0' : { all: true }, i, { seq: i + 1 }))
        if (i % 60 === 0) {
          members.push(far.register(`m-${i}`).then(({ instance_id: id }) => id))
          await new Promise((resolve) => setTimeout(resolve, 2))
        }
      }
      await Promise.all(answers)
      const ids = await Promise.all(members)
      const { delivered_to: last } = await far.send('ws2', null, total)
      expect(last.toSorted()).toEqual(['m0', 'ws', ...ids].toSorted())
      expect(await near.payloads('m0')).toEqual(Array.from({ length: total + 1 }, (_unused, i) => i))
      for (const id of ids) {
        const payloads = (await near.payloads(id)) as number[]
        const from = payloads[0] ?? 0
        const owed = Array.from({ length: total + 1 - from }, (_unused, i) => from + i)
        expect(payloads).toEqual(owed.filter((i) => i % 4 !== 3 || i === total))
      }
    })

    test('one that is away with its registration kept gets what a member sent', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      const away = await join(mesh.far, 'ws')
      await away.request({ type: 'bye', keep: true })
      await near.register('m1')
      expect((await near.send('m1', 'ws', 1)).delivered_to).toEqual(['ws'])
      await using back = await join(mesh.far, 'ws')
      expect(await receive(back, 1)).toMatchObject([{ from: 'm1', payload: 1 }])
    })

    test('the types of both have their names, and any other is custom', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      await near.register('m1')
      await using ws = await join(mesh.far, 'ws')
      for (const [unit, ours] of Object.entries(UNITS)) {
        await near.send('m1', 'ws', unit, { message_type: unit })
        await send(ws, 'm1', unit, { messageType: ours })
      }
      const names = Object.entries(UNITS)
      // Responses come in a lane of their own.
      const came = await receive(ws, names.length)
      expect(new Map(came.map(({ payload, messageType }) => [payload, messageType]))).toEqual(new Map(names))
      expect((await near.messages('m1')).map(({ message_type: type }) => type)).toEqual(Object.keys(UNITS))
    })

    test('D19 custom types arrive at members as they were, and at agents with a name they can read', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('m1')
      await near.register('m2')
      await using ws = await join(mesh.far, 'ws')
      const customs = [
        'my_kind',
        'Something_Custom',
        'query',
        'Query',
        '',
        'ü "x"\n',
        'x'.repeat(100),
        'custom',
      ]
      for (const custom of customs) await near.send('m1', null, null, { message_type: { Custom: custom } })
      expect((await far.messages('m2')).map(({ message_type: type }) => type)).toEqual(
        customs.map((custom) => ({ Custom: custom })),
      )
      const came = await receive(ws, customs.length)
      expect(came.map(({ messageType }) => messageType)).toEqual([
        'my_kind',
        ...Array<string>(6).fill('custom'),
        'custom',
      ])
      expect(came.map((message) => message.customType ?? null)).toEqual([null, ...customs.slice(1, 7), null])
      await send(ws, 'm1', null, { messageType: 'my.own-kind' })
      expect((await near.messages('m1')).at(-1)?.message_type).toEqual({ Custom: 'my.own-kind' })
    })

    test('D19 members that know six types by name get the others as custom ones', async () => {
      const { mesh, near, far } = await start({ httpMessageKinds: 6 })
      await using _ = mesh
      await near.register('m1')
      for (const unit of Object.keys(UNITS)) await far.send('x', 'm1', null, { message_type: unit })
      expect((await near.messages('m1')).map(({ message_type: type }) => type)).toEqual([
        ...Object.keys(UNITS).slice(0, 6),
        ...Object.values(UNITS)
          .slice(6)
          .map((name) => ({ Custom: name })),
      ])
    })

    test('D17 status and metrics of a heartbeat are shown to agents', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await far.register('m1')
      await using watcher = await connectObserver(mesh.near)
      await watcher.request({ type: 'subscribe', events: ['agent.*', 'agent.heartbeat'] })
      await far.beat('m1', { status: 'busy', metrics: { load: 0.5, name: 'x', deep: {}, __proto__: 1 } })
      const beat = await watcher.next('event', ({ event }) => event === 'agent.heartbeat')
      expect(beat).toMatchObject({ agentId: 'm1', agent: { metrics: { load: 0.5 }, statusReason: 'busy' } })
      const [seen] = await discoverAll(watcher)
      expect(seen).toMatchObject({ id: 'm1', status: 'online', statusReason: 'busy', metrics: { load: 0.5 } })
      await near.beat('m1', { status: 'busy' })
      await watcher.next('event', ({ event }) => event === 'agent.heartbeat')
      const kinds = watcher.waitingOf('event').map(({ event }) => event)
      expect(kinds.filter((kind) => kind !== 'agent.heartbeat')).toEqual(['agent.updated'])
    })

    test('silence and revival are events for who watches', async () => {
      const { mesh, near, far } = await start({ httpStaleMs: 300 })
      await using _ = mesh
      await using watcher = await connectObserver(mesh.near)
      await watcher.request({ type: 'subscribe' })
      await far.register('m1')
      const gone = await watcher.next('event', ({ event }) => event === 'agent.status_changed')
      expect(gone).toMatchObject({ agentId: 'm1', old: 'online', new: 'offline' })
      await near.beat('m1')
      const back = await watcher.next('event', ({ event }) => event === 'agent.status_changed')
      expect(back).toMatchObject({ agentId: 'm1', old: 'offline', new: 'online' })
    })

    test('nobody heartbeats, reads, acknowledges, unregisters, registers or speaks for an agent with a connection', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws', { window: 1 })
      await far.register('m1')
      const { message_id: id } = await far.send('m1', 'ws', 1)
      await far.send('m1', 'ws', 2)
      for (const client of [near, far]) {
        const beat = await client.beat('ws')
        expect([beat.status, beat.json.acknowledged, beat.json.leader_id]).toEqual([404, false, 'ws'])
        expect((await client.deregister('ws')).status).toBe(404)
        expect(await client.messages('ws')).toEqual([])
        await client.acknowledge('ws', [id])
        const spoken = await client.request('POST', '/messages/send/ws', {
          message_type: 'Query',
          payload: 1,
        })
        expect([spoken.status, spoken.json]).toMatchObject([403, { code: 'forbidden' }])
        const taken = { instance_id: 'ws', hostname: '', port: 1, capabilities: [], agent_profiles: [] }
        const answer = await client.request('POST', '/registry/register', taken)
        expect([answer.status, answer.json]).toMatchObject([409, { code: 'agent_taken' }])
        const named = await client.request('POST', '/registry/register', { ...taken, instance_id: 'ws-name' })
        expect([named.status, named.json]).toMatchObject([409, { code: 'name_taken' }])
      }
      const [first] = await receive(ws, 1)
      expect(first).toMatchObject({ payload: 1 })
      ws.send({ type: 'ack', ids: [first?.id] })
      expect(await receive(ws, 1)).toMatchObject([{ payload: 2 }])
      expect(await far.messages('m1')).toEqual([])
    })

    test('nor while that agent is away', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      const away = await join(mesh.far, 'ws')
      await away.request({ type: 'bye', keep: true })
      await near.register('m1')
      await near.send('m1', 'ws', 1)
      expect((await near.beat('ws')).status).toBe(404)
      expect((await near.deregister('ws')).status).toBe(404)
      expect(await near.messages('ws')).toEqual([])
      const spoken = await near.request('POST', '/messages/send/ws', { message_type: 'Query', payload: 1 })
      expect(spoken.status).toBe(403)
      await using back = await join(mesh.near, 'ws')
      expect(await receive(back, 1)).toMatchObject([{ payload: 1 }])
    })

    test('an agent that connects cannot have the id of a member that lives, and may once that is offline', async () => {
      const { mesh, near, far } = await start({ httpStaleMs: 500 })
      await using _ = mesh
      await near.register('m1')
      await near.send('x', 'm1', 'kept')
      await expect(join(mesh.far, 'm1')).rejects.toMatchObject({ code: 'agent_taken' })
      await expect.poll(() => near.ids(), { timeout: 5_000 }).toEqual([])
      await using ws = await join(mesh.far, 'm1')
      expect(await receive(ws, 1)).toMatchObject([{ payload: 'kept' }])
      expect((await far.beat('m1')).status).toBe(404)
    })

    test('members take no work, and none waits for them', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      await near.register('m1', { capabilities: ['query'] })
      await using ws = await join(mesh.far, 'ws')
      const refused = await sendRefused(ws, { capability: 'query' }, 1, { ifNone: 'fail' })
      expect(refused).toBe('no_capable_agent')
      expect((await send(ws, { capability: 'query', mode: 'all' }, 2)).recipients).toBe(1)
      expect(await near.messages('m1')).toMatchObject([{ payload: 2, target_instance: null }])
    })

    test('a receipt tells a sender that a member has acknowledged', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      await near.register('m1')
      await using ws = await join(mesh.far, 'ws')
      const { id } = await send(ws, 'm1', 1, { receipt: true })
      await near.acknowledge('m1', [id])
      expect(await ws.next('receipt')).toMatchObject({ id, agentId: 'm1', status: 'acked' })
    })

    test('numbers stay as they were written, from member to member', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('m1')
      const payload =
        '{"u64":18446744073709551615,"i64":-9223372036854775808,"one":1.0,"e":1E5,"zero":-0.0,"big":123456789012345678901234567890}'
      const body = `{"message_type":"Query","payload": ${payload.replaceAll(',', ' ,\n')}}`
      expect((await near.request('POST', '/messages/send/x', body)).status).toBe(200)
      expect((await far.request('GET', '/messages/m1')).text).toContain(`"payload":${payload},`)
    })

    test('the largest number there is comes as serde_json can read it, however it was written', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('m1')
      const body = `{"message_type":"Query","payload":[1.7976931348623158e308,${BigInt(Number.MAX_VALUE)}]}`
      expect((await near.request('POST', '/messages/send/x', body)).status).toBe(200)
      const { text } = await far.request('GET', '/messages/m1')
      expect(text).toContain('"payload":[1.7976931348623157e+308,1.7976931348623157e+308],')
    })

    test('what is not in one line or looks like a frame stays a payload', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('m1')
      await using ws = await join(mesh.far, 'ws')
      const payloads = [
        'line\n{"type":"goaway"}\n',
        { correlationId: 'not mine', createdAt: '2020-01-01T00:00:00.000Z', payload: { payload: 1 } },
        [{ a: 1, correlationId: 'x' }],
        '","payload":1,"correlationId":"x","createdAt":"y"',
        JSON.parse('{"__proto__":{"x":1},"constructor":1}'),
        '\u2028\u0000\u007f',
      ]
      for (const payload of payloads) {
        for (const correlation of [null, '","createdAt":"x'])
          await near.send('m1', null, payload, { correlation_id: correlation })
      }
      const expected = payloads.flatMap((payload) => [payload, payload])
      const came = await receive(ws, expected.length)
      expect(came.map(({ payload }) => JSON.stringify(payload))).toEqual(
        expected.map((one) => JSON.stringify(one)),
      )
      await send(ws, 'm1', payloads[1], { correlationId: 'mine' })
      for (const payload of payloads) await send(ws, 'm1', payload)
      const read = await far.messages('m1')
      expect(read.map(({ payload }) => JSON.stringify(payload))).toEqual(
        [payloads[1], ...payloads].map((one) => JSON.stringify(one)),
      )
      expect(read.map(({ correlation_id: id }) => id)).toEqual(['mine', ...payloads.map(() => null)])
    })

    test('what serde_json would refuse does not reach a member as it is', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      await near.register('m1')
      await using ws = await join(mesh.far, 'ws')
      const raw = (payload: string, more = ''): void =>
        ws.raw(`{"type":"send","ref":1,"to":{"agent":"m1"},"messageType":"x","payload":${payload}${more}}`)
      raw('["\\ud800","\\ud83d\\ude00","a\\\\ud800","\\udc00\\udc00x",{"\\udfff":1}]')
      raw('"\\ud800"', ',"correlationId":"c\\udead"')
      raw('[1e999,-1e999]')
      raw(JSON.stringify(nested(120)))
      raw(JSON.stringify(nested(121)))
      raw('1')
      await expect.poll(() => near.messages('m1')).toHaveLength(6)
      const { text } = await near.request('GET', '/messages/m1')
      expect(text).not.toMatch(/(?<!\\)\\ud[89a-f]/i)
      const read = await near.messages('m1')
      expect(read.map(({ payload }) => payload)).toEqual([
        ['\ufffd', '😀', 'a\\ud800', '\ufffd\ufffdx', { '\ufffd': 1 }],
        '\ufffd',
        [null, null],
        nested(120),
        JSON.stringify(nested(121)),
        1,
      ])
      expect(read[1]?.correlation_id).toBe('c\ufffd')
    })

    test('another namespace is another mesh', async () => {
      const { mesh, near, far } = await start({ httpNamespace: 'rust' })
      await using _ = mesh
      await using ws = await join(mesh.near, 'ws')
      await far.register('m1')
      expect(await near.ids()).toEqual(['m1'])
      expect(await sendRefused(ws, 'm1', 1)).toBe('unknown_target')
      await using inside = await join(mesh.near, 'ws', { namespace: 'rust' })
      expect((await send(inside, 'm1', 1)).recipients).toBe(1)
    })

    test('a member is reached by its name, and as the leader', async () => {
      const { mesh, near, far } = await start()
      await using _ = mesh
      await near.register('First one!')
      await using ws = await join(mesh.far, 'ws')
      await send(ws, { name: 'First one!' }, 1)
      await send(ws, { leader: true }, 2, { messageType: 'response' })
      await send(ws, { leader: true }, 3)
      expect(await far.payloads(encodeURIComponent('First one!'))).toEqual([1, 2, 3])
    })

    test('an agent with a connection has no room for more: 429, and nothing is stored', async () => {
      const { mesh, near } = await start({ inboxMax: 1 })
      await using _ = mesh
      const away = await join(mesh.far, 'ws')
      await away.request({ type: 'bye', keep: true })
      const body = { target_instance: 'ws', message_type: 'Query', payload: 1 }
      expect((await near.request('POST', '/messages/send/x', body)).status).toBe(200)
      const full = await near.request('POST', '/messages/send/x', body)
      expect([full.status, full.json]).toMatchObject([429, { code: 'inbox_full' }])
      await using back = await join(mesh.far, 'ws')
      expect(back.welcome.pending).toBe(1)
    })

    test('streams and transient messages pass members by', async () => {
      const { mesh, near } = await start()
      await using _ = mesh
      await near.register('m1')
      await using ws = await join(mesh.far, 'ws')
      await expect(
        ws.request({ type: 'stream.open', stream: 's', to: { agent: 'm1' } }),
      ).rejects.toMatchObject({ code: 'unknown_target' })
      expect((await send(ws, 'm1', 1, { durability: 'transient' })).recipients).toBe(0)
      expect(await near.messages('m1')).toEqual([])
    })
  },
)
