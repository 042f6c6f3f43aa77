import { randomUUID } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { describe, expect, it } from 'vitest'
import { decode, encode, MXP_FLAGS, type MxpType } from '../../src/mxp/index.ts'
import { connectAgent, connectObserver } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { type MxpAgent, MxpRegistryClient } from '../support/mxp-registry-client.ts'
import { jsonOf, message, MxpUdp } from '../support/mxp-udp.ts'
import { pollUntil } from '../support/poll-until.ts'

const SETTINGS = { mxpUdpPort: 0 } as const

const until = (holds: () => Promise<boolean>): Promise<void> =>
  pollUntil(holds, 5_000, 'it did not come to that in 5 s')

const agentOf = (fields: Partial<MxpAgent> = {}): MxpAgent => ({
  id: randomUUID(),
  name: `agent-${randomUUID()}`,
  capabilities: ['code.review'],
  address: '127.0.0.1:50051',
  metadata: { version: '0.3.1', description: 'Reads code', tags: '["alpha","b"]' },
  ...fields,
})

const namesOf = (answer: Record<string, unknown>): string[] =>
  (answer.agents as { name: string }[]).map(({ name }) => name)

describe.each(CORES)('the MXP registry on %s', (core) => {
  it('registers, finds, hears and forgets an agent of the SDK', async () => {
    await using hub = await startTestHub(core, SETTINGS)
    const agent = agentOf({ name: 'reviewer' })
    await using client = await MxpRegistryClient.open(hub, agent)
    await client.register()
    expect(await client.beat()).toBe(true)
    await using other = await MxpUdp.open(hub)
    const found = await other.ask('AgentDiscover', { capability: 'code.review' })
    expect(found).toEqual({
      type: 'Response',
      capability: 'code.review',
      agents: [
        {
          id: agent.id,
          name: 'reviewer',
          version: '0.3.1',
          description: 'Reads code',
          capabilities: ['code.review'],
          tags: ['alpha', 'b'],
          address: '127.0.0.1:50051',
          status: 'Online',
          last_heartbeat: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
          registered_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        },
      ],
      count: 1,
      total: 1,
    })
    await client.deregister()
    expect(await other.ask('AgentDiscover', { capability: 'code.review' })).toMatchObject({
      agents: [],
      count: 0,
    })
    // Gone is gone: to ask for it again is no failure.
    await client.deregister()
  })

  it('echoes message id and trace id, and answers where the datagram came from', async () => {
    await using hub = await startTestHub(core, SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const question = message('AgentRegister', agentOf({ address: '[2001:db8::1]:9' }), {
      messageId: 2n ** 64n - 1n,
      traceId: 2n ** 63n + 1n,
    })
    const { messageId, traceId, flags } = await udp.call(question)
    expect({ messageId, traceId, flags }).toEqual({
      messageId: 2n ** 64n - 1n,
      traceId: 2n ** 63n + 1n,
      flags: 0,
    })
  })

  it('tells an agent it does not know to register, which it does after three beats', async () => {
    await using hub = await startTestHub(core, SETTINGS)
    await using client = await MxpRegistryClient.open(hub, agentOf())
    expect([await client.beat(), await client.beat(), client.registrations]).toEqual([false, false, 0])
    expect([await client.beat(), client.registrations]).toEqual([false, 1])
    expect(await client.beat()).toBe(true)
  })

  it('makes an agent that is silent offline, and a heartbeat brings it back', async () => {
    await using hub = await startTestHub(core, { ...SETTINGS, mxpStaleMs: 400 })
    await using client = await MxpRegistryClient.open(hub, agentOf({ capabilities: ['nlp'] }))
    await client.register()
    await using udp = await MxpUdp.open(hub)
    const discover = () => udp.ask('AgentDiscover', { capability: 'nlp' })
    expect(await discover()).toMatchObject({ count: 1 })
    await until(async () => (await discover()).count === 0)
    expect(await client.beat()).toBe(true)
    expect(await discover()).toMatchObject({ count: 1 })
  })

  it('lets an id register again, and gives the name of an offline agent to the newcomer', async () => {
    await using hub = await startTestHub(core, { ...SETTINGS, mxpStaleMs: 400 })
    const agent = agentOf({ name: 'reviewer' })
    await using client = await MxpRegistryClient.open(hub, agent)
    await client.register()
    await client.register()
    await using newcomer = await MxpRegistryClient.open(hub, agentOf({ name: 'reviewer' }))
    await expect(newcomer.register()).rejects.toThrow('Agent name already exists: reviewer')
    await until(() =>
      newcomer.register().then(
        () => true,
        () => false,
      ),
    )
    expect(await client.beat()).toBe(false)
  })

  it('is one mesh with WebSocket agents: either sees the other', async () => {
    await using hub = await startTestHub(core, SETTINGS)
    await using worker = await connectAgent(hub, { name: 'worker', capabilities: ['nlp'], address: 'host:1' })
    await using client = await MxpRegistryClient.open(
      hub,
      agentOf({ name: 'reviewer', capabilities: ['nlp'] }),
    )
    await client.register()
    const { agents } = await worker.request<{ agents: object[] }>({
      type: 'discover',
      where: { capabilities: { all: ['nlp'] } },
    })
    expect(agents).toMatchObject([
      { name: 'reviewer', transport: 'mxp', connected: false, version: '0.3.1' },
      { name: 'worker', transport: 'websocket' },
    ])
    await using udp = await MxpUdp.open(hub)
    const found = await udp.ask('AgentDiscover', { capability: 'nlp' })
    expect(namesOf(found)).toEqual(['reviewer', 'worker'])
    // `worker` names no IP address and no version.
    expect(found.agents).toMatchObject([{}, { address: '0.0.0.0:0', version: '0.0.0' }])
    // What a WebSocket agent has, nobody takes over or ends by a datagram.
    expect(await udp.ask('AgentRegister', agentOf({ id: worker.id }))).toMatchObject({
      type: 'Error',
      code: 'AGENT_ID_EXISTS',
    })
    await udp.ask('AgentHeartbeat', { agent_id: worker.id }, MXP_FLAGS.FINAL)
    expect(await udp.ask('AgentHeartbeat', { agent_id: worker.id })).toMatchObject({
      success: false,
      needs_register: true,
    })
    await worker.roundTrip()
  })

  it('is one registry over two hubs', async () => {
    await using mesh = await startMesh(core, 2, SETTINGS)
    await using client = await MxpRegistryClient.open(mesh.hub(0), agentOf({ name: 'reviewer' }))
    await client.register()
    await using elsewhere = await MxpUdp.open(mesh.hub(1))
    await until(async () => (await elsewhere.ask('AgentDiscover', { capability: 'code.review' })).count === 1)
  })
})

describe('the MXP registry', () => {
  it('is off unless it is asked for', async () => {
    await using hub = await startTestHub('memory')
    expect(hub.mxpUdpPort).toBeNull()
  })

  it('is on loopback only, and gives its port back', async () => {
    const hub = await startTestHub('memory', SETTINGS)
    const port = hub.mxpUdpPort ?? 0
    await expect(startTestHub('memory', { mxpUdpPort: port })).rejects.toThrow('EADDRINUSE')
    await hub.close()
    await using again = await startTestHub('memory', { mxpUdpPort: port })
    expect(again.mxpUdpPort).toBe(port)
    const outside = createSocket('udp4')
    // Were the hub on every address, this one would be taken.
    await new Promise<void>((resolve, reject) => {
      outside.once('error', reject)
      outside.bind(port, '127.0.0.2', resolve)
    })
    outside.close()
  })

  it.each<[title: string, type: MxpType, payload: unknown, code: string]>([
    ['a registration that is no JSON object', 'AgentRegister', ['x'], 'SERIALIZATION'],
    ['a registration without id', 'AgentRegister', { ...agentOf(), id: undefined }, 'SERIALIZATION'],
    ['a host name as address', 'AgentRegister', agentOf({ address: 'localhost:80' }), 'SERIALIZATION'],
    ['an address without port', 'AgentRegister', agentOf({ address: '127.0.0.1' }), 'SERIALIZATION'],
    ['a blank name', 'AgentRegister', agentOf({ name: ' ' }), 'INVALID_AGENT_NAME'],
    ['a capability in capitals', 'AgentRegister', agentOf({ capabilities: ['NLP'] }), 'INVALID_CAPABILITY'],
    [
      '21 capabilities',
      'AgentRegister',
      agentOf({ capabilities: Array.from({ length: 21 }, (_, i) => `c${i}`) }),
      'INVALID_CAPABILITIES',
    ],
    ['a discovery without capability', 'AgentDiscover', {}, 'SERIALIZATION'],
    ['a heartbeat without agent', 'AgentHeartbeat', { agent_id: 7 }, 'SERIALIZATION'],
    ['a call, which only the gateway takes', 'Call', {}, 'UNSUPPORTED_TYPE'],
  ])('answers %s with an Error', async (_title, type, payload, code) => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    expect(await udp.ask(type, payload)).toEqual({ type: 'Error', code, error: expect.any(String) })
  })

  it('answers what is compressed or encrypted with an Error', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    for (const flags of [MXP_FLAGS.COMPRESSED, MXP_FLAGS.ENCRYPTED])
      expect(await udp.ask('AgentDiscover', { capability: 'nlp' }, flags)).toMatchObject({
        code: 'UNSUPPORTED_FLAG',
      })
  })

  it('takes no capabilities at all, and names that only the SDK allows', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using client = await MxpRegistryClient.open(
      hub,
      agentOf({ name: 'Prüfer 7 (nachts)', capabilities: [] }),
    )
    await client.register()
    expect(await client.beat()).toBe(true)
  })

  it('keeps to the rules of the original registry where that is asked for', async () => {
    await using hub = await startTestHub('memory', { ...SETTINGS, mxpRules: 'strict' })
    await using udp = await MxpUdp.open(hub)
    const codeOf = async (fields: Partial<MxpAgent>) => (await udp.ask('AgentRegister', agentOf(fields))).code
    expect(await codeOf({ capabilities: ['code.review'] })).toBe('INVALID_CAPABILITY')
    expect(await codeOf({ capabilities: [] })).toBe('INVALID_CAPABILITIES')
    expect(await codeOf({ capabilities: ['nlp'], name: 'a b c' })).toBe('INVALID_AGENT_NAME')
    expect(await codeOf({ capabilities: ['nlp'], name: 'reviewer' })).toBeUndefined()
  })

  it('takes the registration of the SDK’s examples, and acknowledges it as they expect', async () => {
    await using hub = await startTestHub('memory', { ...SETTINGS, mxpStaleMs: 300 })
    await using udp = await MxpUdp.open(hub)
    const question = message('AgentRegister', {
      agent_id: 'coordinator-1',
      name: 'coordinator',
      capabilities: ['debug'],
      endpoint: '127.0.0.1:50052',
    })
    udp.send(question)
    const answer = await udp.next()
    expect(answer).toMatchObject({ type: 'Ack', traceId: question.traceId })
    expect(answer.payload).toHaveLength(0)
    expect(answer.messageId).not.toBe(question.messageId)
    // They never beat, and stay.
    await using observer = await connectObserver(hub)
    await using silent = await MxpRegistryClient.open(hub, agentOf({ name: 'silent' }))
    await silent.register()
    await until(async () => {
      const { agents } = await observer.request<{ agents: { name: string }[] }>({ type: 'discover' })
      return agents.every(({ name }) => name !== 'silent')
    })
    expect(namesOf(await udp.ask('AgentDiscover', { capability: 'debug' }))).toEqual(['coordinator'])
  })

  it('answers with as many agents as fit into a client’s buffer, says how many there are, and gives the rest when asked', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const names = Array.from({ length: 100 }, (_, index) => `agent-${String(index).padStart(3, '0')}`)
    for (const name of names) {
      const metadata = { description: 'ü'.repeat(100) }
      expect(
        await udp.ask('AgentRegister', agentOf({ name, capabilities: ['nlp'], metadata })),
      ).toMatchObject({
        success: true,
      })
    }
    const seen: string[] = []
    for (let offset: unknown = 0; offset !== undefined;) {
      const question = message('AgentDiscover', { capability: 'nlp', offset })
      udp.send(question)
      await until(async () => udp.datagrams.length > 0)
      expect(udp.datagrams[0]?.length).toBeLessThan(16_384)
      const answer = jsonOf(await udp.next())
      expect(answer).toMatchObject({ total: 100, count: namesOf(answer).length })
      seen.push(...namesOf(answer))
      offset = answer.next_offset
    }
    expect(seen).toEqual(names)
  })

  it('leaves out tags that are none, and that a client could not parse', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    for (const tags of ['not JSON', '{}', '[1]', '["\\ud800"]'])
      await udp.ask('AgentRegister', agentOf({ capabilities: ['nlp'], metadata: { tags } }))
    const { agents } = await udp.ask('AgentDiscover', { capability: 'nlp' })
    expect(agents).toHaveLength(4)
    for (const agent of agents as object[]) expect(agent).not.toHaveProperty('tags')
  })

  it('leaves out what alone would not fit', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const metadata = { description: '\u0001'.repeat(2_690), version: 'v'.repeat(150) }
    const agent = agentOf({ name: 'talker', capabilities: ['nlp'], metadata })
    expect(await udp.ask('AgentRegister', agent)).toMatchObject({ success: true })
    const found = await udp.ask('AgentDiscover', { capability: 'nlp' })
    expect(found).toMatchObject({ count: 1, total: 1 })
    expect(found.agents).not.toMatchObject([{ description: expect.anything() }])
  })

  it('sends nothing for what is no MXP message, nor for answers', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const broken = encode(message('AgentDiscover', { capability: 'nlp' }))
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1
    udp.raw(new Uint8Array(0))
    udp.raw(new TextEncoder().encode('hello, is anybody there? this is not MXP at all'))
    udp.raw(broken)
    for (const type of ['Response', 'Ack', 'Error'] as const) udp.send(message(type, {}))
    // Datagrams of one socket over loopback keep their order.
    const last = message('AgentDiscover', { capability: 'nlp' })
    udp.send(last)
    expect((await udp.next()).messageId).toBe(last.messageId)
    expect(udp.datagrams).toEqual([])
  })

  it('passes over bytes behind the checksum, as the genuine decoder does', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    udp.raw(
      Buffer.concat([encode(message('AgentDiscover', { capability: 'nlp' })), Buffer.from([0xde, 0xad])]),
    )
    expect((await udp.next()).type).toBe('Response')
  })

  it('answers one address no more often than its rate', async () => {
    await using hub = await startTestHub('memory', { ...SETTINGS, mxpUdpRatePerSecond: 10 })
    await using udp = await MxpUdp.open(hub)
    for (let i = 0; i < 200; i++) udp.send(message('AgentDiscover', { capability: 'nlp' }))
    const before = performance.now()
    // One is let through again when there is room.
    const asked = new Set<bigint>()
    await until(async () => {
      const one = message('AgentDiscover', { capability: 'nlp' })
      asked.add(one.messageId)
      udp.send(one)
      return udp.datagrams.some((datagram) => asked.has(decode(datagram).messageId))
    })
    const seconds = (performance.now() - before) / 1_000
    expect(udp.datagrams.length).toBeGreaterThanOrEqual(20)
    expect(udp.datagrams.length).toBeLessThan(20 + 10 * (seconds + 1))
  })
})
