import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../protocol/commands.ts'
import type { DiscoverResult, SubscribeResult } from '../../protocol/replies.ts'
import { connectAgent, connectObserver, openSocket, type TestSocket } from '../support/agent.ts'
import { CORES, startHurriedHub, startTestHub } from '../support/hubs.ts'

const NLP = { name: 'tester', capabilities: ['nlp'] }
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

async function discover(socket: TestSocket, where: object = {}): Promise<string[]> {
  const { agents } = await socket.request<DiscoverResult>({ type: 'discover', where })
  return agents.map(({ id }) => id)
}

describe('the first frame', () => {
  it('is hello in time, or the connection is closed 4408; a failed hello gives no more time', async () => {
    await using hub = await startHurriedHub(100)
    await using welcomed = await connectAgent(hub, { id: 'a1' })
    await using silent = await openSocket(hub)
    await using refused = await openSocket(hub)
    await refused.refusal({ type: 'hello', protocol: 1, agent: { name: 'x', capabilities: ['nlp'] } })
    expect(await silent.closed).toMatchObject({ code: 4408 })
    expect(await refused.closed).toMatchObject({ code: 4408 })
    await welcomed.roundTrip()
  })

  it.each(Object.keys(COMMANDS).filter((type) => type !== 'hello'))(
    'that is %s closes with 4400',
    async (type) => {
      await using hub = await startTestHub('memory')
      await using socket = await openSocket(hub)
      socket.send({ type, ref: 1 })
      expect(await socket.closed).toMatchObject({ code: 4400 })
    },
  )

  it('of an unknown type closes with 4400', async () => {
    await using hub = await startTestHub('memory')
    for (const frame of [{ type: 'login', ref: 1 }, { ref: 1 }, {}]) {
      await using socket = await openSocket(hub)
      socket.send(frame)
      expect(await socket.closed).toMatchObject({ code: 4400 })
    }
  })

  it('may be tried again after it failed, on the same connection', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    expect(await socket.refusal({ type: 'hello', protocol: 2, agent: NLP })).toMatchObject({
      code: 'bad_frame',
    })
    expect(await socket.refusal({ type: 'hello', agent: NLP })).toMatchObject({ code: 'bad_frame' })
    expect(
      await socket.refusal({ type: 'hello', protocol: 1, agent: { ...NLP, name: 'a b' } }),
    ).toMatchObject({
      code: 'invalid_name',
    })
    expect(await socket.hello({ agent: NLP })).toMatchObject({ agent: { name: 'tester' } })
  })

  it.each([0, 2, -1, 100])('with protocol %j is bad_frame, naming the one spoken', async (protocol) => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    const error = await socket.refusal({ type: 'hello', protocol, agent: NLP })
    expect(error).toMatchObject({ code: 'bad_frame', retryable: false })
    expect(error.message).toContain('1')
    expect(error.message).toContain(String(protocol))
  })
})

describe('after hello', () => {
  it('a second one closes with 4400, for an agent and for an observer', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    await using observer = await connectObserver(hub)
    for (const socket of [agent, observer]) {
      socket.send({ type: 'hello', ref: 2, protocol: 1 })
      expect(await socket.closed).toMatchObject({ code: 4400 })
    }
  })

  it.each(CORES)(
    'a frame before the welcome closes with 4400, and no agent stays connected: on %s',
    async (core) => {
      await using hub = await startTestHub(core)
      await using socket = await openSocket(hub)
      const hello = { type: 'hello', ref: 1, protocol: 1, agent: { ...NLP, id: 'a1' } }
      socket.raw(`${JSON.stringify(hello)}\n{"type":"ping"}`)
      expect(await socket.closed).toMatchObject({ code: 4400 })
      expect(socket.waiting).toEqual([])
      // Later than anything the broken connection could have registered.
      await using marker = await connectAgent(hub, { id: 'marker' })
      const { agents } = await marker.request<DiscoverResult>({ type: 'discover' })
      expect(agents.filter(({ connected }) => connected).map(({ id }) => id)).toEqual(['marker'])
    },
  )

  it.each(CORES)('a client that leaves before the welcome leaves no agent connected: on %s', async (core) => {
    await using hub = await startTestHub(core, { graceMs: 50 })
    await using observer = await connectObserver(hub)
    await observer.request({ type: 'subscribe' })
    await using socket = await openSocket(hub)
    socket.send({ type: 'hello', ref: 1, protocol: 1, agent: { ...NLP, id: 'a1', ephemeral: true } })
    socket.webSocket.terminate()
    await observer.next('event', (event) => event.event === 'agent.unregistered')
  })
})

describe('welcome', () => {
  it.each(CORES)('says what a client needs to know: on %s', async (core) => {
    await using hub = await startTestHub(core, {
      heartbeatIntervalMs: 7_000,
      heartbeatTimeoutMs: 3_000,
      maxMessageBytes: 100_000,
    })
    const before = Date.now()
    await using agent = await connectAgent(hub, { id: 'a1', window: 7 })
    expect(agent.welcome).toEqual({
      type: 'welcome',
      ref: 'r1',
      protocol: 1,
      hub: hub.id,
      namespace: 'default',
      session: expect.stringMatching(/^.{16,256}$/),
      resumed: false,
      agent: expect.objectContaining({ id: 'a1' }),
      leader: { agentId: 'a1', term: expect.any(Number) },
      revision: expect.any(Number),
      pending: 0,
      work: [],
      time: expect.stringMatching(ISO_TIME),
      expiresAt: null,
      heartbeat: { intervalMs: 7_000, timeoutMs: 3_000 },
      limits: { maxMessageBytes: 100_000, maxPayloadBytes: 100_000 - 4_096, window: 7, ackTimeoutMs: 60_000 },
    })
    expect(Date.parse(agent.welcome.time)).toBeGreaterThanOrEqual(before)
    expect(agent.welcome.revision).toBeGreaterThanOrEqual(agent.welcome.leader.term)
    await using next = await connectAgent(hub, { id: 'a2' })
    expect(next.welcome.limits.window).toBe(256)
    expect(next.welcome.leader).toEqual(agent.welcome.leader)
    expect(next.welcome.revision).toBeGreaterThan(agent.welcome.revision)
  })

  it.each(CORES)('describes the agent with every default filled in: on %s', async (core) => {
    await using hub = await startTestHub(core)
    await using agent = await connectAgent(hub, { id: 'a1', name: 'tester', capabilities: ['nlp'] })
    expect(agent.welcome.agent).toEqual({
      id: 'a1',
      name: 'tester',
      capabilities: ['nlp'],
      version: null,
      profiles: [],
      groups: [],
      address: null,
      metadata: {},
      concurrency: 1,
      status: 'online',
      statusReason: null,
      connected: true,
      metrics: {},
      isLeader: true,
      transport: 'websocket',
      hub: hub.id,
      registeredAt: expect.stringMatching(ISO_TIME),
      lastHeartbeat: expect.stringMatching(ISO_TIME),
      revision: expect.any(Number),
    })
    // A list that is empty stays one on its way through the store.
    await using observer = await connectObserver(hub)
    const { agents } = await observer.request<SubscribeResult>({ type: 'subscribe' })
    expect(agents).toEqual([agent.welcome.agent])
  })

  it.each(CORES)('describes the agent with every field given: on %s', async (core) => {
    await using hub = await startTestHub(core)
    const fields = {
      id: 'a:1._-Z',
      name: 'nlp-Processor_1',
      capabilities: ['nlp', 'summarization', 'nlp'],
      version: '1.2.0-rc.1+build.5',
      profiles: ['coder'],
      groups: ['eu', 'Ünïcode gröup', 'eu'],
      address: '10.0.0.5:9000',
      metadata: { team: 'search', empty: '', 'schlüssel "x"': '\u0000\n✓' },
      concurrency: 4,
    }
    await using agent = await connectAgent(hub, { ...fields, leaderEligible: false, ephemeral: true })
    const lists = { capabilities: ['nlp', 'summarization'], groups: ['eu', 'Ünïcode gröup'] }
    expect(agent.welcome.agent).toMatchObject({ ...fields, ...lists, isLeader: false })
    expect(agent.welcome.leader.agentId).toBeNull()
  })

  it('names an id the hub made where none is given, another one each time', async () => {
    await using hub = await startTestHub('memory')
    await using first = await connectAgent(hub)
    await using second = await connectAgent(hub)
    expect(first.id).toMatch(/^[A-Za-z0-9._:-]{8,128}$/)
    expect(second.id).not.toBe(first.id)
  })
})

describe.each(CORES)('an observer on %s', (core) => {
  it('has no agent, no session and no inbox, and is nobody to the others', async () => {
    await using hub = await startTestHub(core)
    await using observer = await connectObserver(hub)
    expect(observer.welcome).toMatchObject({
      session: null,
      agent: null,
      resumed: false,
      pending: 0,
      namespace: 'default',
    })
    expect(observer.welcome.leader.agentId).toBeNull()
    await using agent = await connectAgent(hub, { id: 'a1' })
    expect(await discover(agent)).toEqual(['a1'])
    const all = { type: 'send', to: { all: true }, messageType: 'notification', payload: 1 }
    expect(await agent.request(all)).toMatchObject({ recipients: 0 })
    expect(await agent.request({ ...all, durability: 'transient' })).toMatchObject({ recipients: 0 })
    await observer.roundTrip()
    expect(observer.waitingOf('message')).toEqual([])
  })

  it('may discover, subscribe and ask for the leader, and may not send or update', async () => {
    await using hub = await startTestHub(core)
    await using observer = await connectObserver(hub)
    await using _agent = await connectAgent(hub, { id: 'a1' })
    expect(await discover(observer)).toEqual(['a1'])
    const { subscription } = await observer.request<SubscribeResult>({ type: 'subscribe' })
    await observer.request({ type: 'unsubscribe', subscription })
    expect(await observer.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'a1' } })
    const send = { type: 'send', to: { agent: 'a1' }, messageType: 'query', payload: 1 }
    expect(await observer.refusal(send)).toMatchObject({ code: 'forbidden', retryable: false })
    expect(await observer.refusal({ type: 'update', status: 'degraded' })).toMatchObject({
      code: 'forbidden',
    })
  })

  it('acknowledges and pongs into the void, and leaves by bye', async () => {
    await using hub = await startTestHub(core)
    await using observer = await connectObserver(hub)
    observer.send({ type: 'ack', ids: ['m1'] })
    observer.send({ type: 'nack', id: 'm1' })
    observer.send({ type: 'progress', ids: ['m1'] })
    observer.send({ type: 'pong', status: 'degraded', metrics: { load: 1 } })
    await observer.roundTrip()
    expect(observer.waiting).toEqual([])
    expect(await observer.request({ type: 'bye', keep: true })).toEqual({})
    expect(await observer.closed).toMatchObject({ code: 1000 })
  })
})

describe.each(CORES)('registering again on %s', (core) => {
  it('keeps registeredAt, takes the new fields, and gives a new session', async () => {
    await using hub = await startTestHub(core)
    await using first = await connectAgent(hub, {
      id: 'a1',
      name: 'before',
      groups: ['eu'],
      metadata: { k: 'v' },
    })
    await first.cut()
    await using second = await connectAgent(hub, { id: 'a1', name: 'after', capabilities: ['vision'] })
    expect(second.welcome.resumed).toBe(true)
    expect(second.session).not.toBe(first.session)
    expect(second.welcome.revision).toBeGreaterThan(first.welcome.revision)
    expect(second.welcome.agent).toMatchObject({
      registeredAt: first.welcome.agent?.registeredAt,
      name: 'after',
      capabilities: ['vision'],
      groups: [],
      metadata: {},
      connected: true,
    })
    // The name it had is free.
    await using _other = await connectAgent(hub, { id: 'a2', name: 'before' })
    expect(await discover(second, { name: 'before' })).toEqual(['a2'])
    expect(await discover(second, { capabilities: { all: ['vision'] } })).toEqual(['a1'])
  })

  it('after bye begins anew', async () => {
    await using hub = await startTestHub(core)
    await using first = await connectAgent(hub, { id: 'a1' })
    await first.request({ type: 'bye' })
    await using second = await connectAgent(hub, { id: 'a1' })
    expect(second.welcome.resumed).toBe(false)
    expect(Date.parse(second.welcome.agent?.registeredAt ?? '')).toBeGreaterThanOrEqual(
      Date.parse(first.welcome.agent?.registeredAt ?? ''),
    )
  })

  it('says how much waits in both lanes', async () => {
    await using hub = await startTestHub(core)
    await using sender = await connectAgent(hub, { id: 'a1' })
    await using first = await connectAgent(hub, { id: 'a2' })
    await first.request({ type: 'bye', keep: true })
    for (const messageType of ['query', 'query', 'response']) {
      await sender.request({ type: 'send', to: { agent: 'a2' }, messageType, payload: 1 })
    }
    await using second = await connectAgent(hub, { id: 'a2' })
    expect(second.welcome).toMatchObject({ resumed: true, pending: 3 })
    for (let i = 0; i < 3; i++) await second.next('message')
  })
})

describe.each(CORES)('namespaces on %s', (core) => {
  it('are isolated: the same ids and names, and nothing crosses', async () => {
    await using hub = await startTestHub(core)
    await using red = await connectAgent(hub, { id: 'a1', name: 'twin', groups: ['eu'], namespace: 'red' })
    await using blue = await connectAgent(hub, { id: 'a1', name: 'twin', groups: ['eu'], namespace: 'blue' })
    await using other = await connectAgent(hub, {
      id: 'only-blue',
      name: 'only-blue',
      groups: ['eu'],
      namespace: 'blue',
    })
    await using redWatcher = await connectObserver(hub, 'red')
    await redWatcher.request({
      type: 'subscribe',
      events: ['agent.*', 'agent.heartbeat', 'leader.changed', 'message.dead_lettered'],
    })
    expect(red.welcome.namespace).toBe('red')
    expect(blue.welcome.namespace).toBe('blue')

    expect(await discover(red)).toEqual(['a1'])
    expect(await discover(blue)).toEqual(['only-blue', 'a1'])
    const send = (to: object): object => ({
      type: 'send',
      to,
      messageType: 'notification',
      payload: 'from red',
    })
    expect(await red.refusal(send({ agent: 'only-blue' }))).toMatchObject({ code: 'unknown_target' })
    expect(await red.refusal(send({ name: 'only-blue' }))).toMatchObject({ code: 'unknown_target' })
    for (const to of [{ all: true }, { group: 'eu' }, { capability: 'nlp', mode: 'all' }]) {
      expect(await red.request(send(to))).toMatchObject({ recipients: 0 })
      expect(await red.request({ ...send(to), durability: 'transient' })).toMatchObject({ recipients: 0 })
    }
    await red.request(send({ name: 'twin' }))
    expect(await red.next('message')).toMatchObject({ from: 'a1' })

    // All that can happen in blue, and red hears none of it.
    await blue.request({ type: 'update', status: 'degraded', metadata: { k: 'v' }, metrics: { load: 1 } })
    await blue.request({ type: 'send', to: { agent: 'only-blue' }, messageType: 'query', payload: 1 })
    await other.next('message')
    await other.request({ type: 'bye' })
    await using marker = await connectAgent(hub, { id: 'marker', namespace: 'red' })
    const event = await redWatcher.next('event')
    expect(event).toMatchObject({ event: 'agent.registered', agentId: 'marker' })
    await blue.roundTrip()
    expect(blue.waitingOf('message')).toEqual([])
    expect(await marker.request({ type: 'leader' })).toEqual({ leader: red.welcome.leader })
    expect(blue.welcome.leader.agentId).toBe('a1')
  })

  it('keep the agents of one apart from those of another whose name begins alike', async () => {
    await using hub = await startTestHub(core)
    await using _long = await connectAgent(hub, { id: 'a1', namespace: 'team-1' })
    await using short = await connectAgent(hub, { id: 'b1', namespace: 'team' })
    expect(await discover(short)).toEqual(['b1'])
  })
})
