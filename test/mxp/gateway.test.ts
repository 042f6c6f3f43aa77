import { describe, expect, it } from 'vitest'
import { connectAgent, connectObserver } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { type Came, connectMxp, MXP_FLAGS, MxpSocket } from '../support/mxp-agent.ts'
import { encode } from '../../src/mxp/index.ts'
import { message } from '../support/mxp-udp.ts'
import { pollUntil } from '../support/poll-until.ts'

const { REQUIRES_ACK, FINAL, COMPRESSED, ENCRYPTED } = MXP_FLAGS

const until = (holds: () => Promise<boolean>): Promise<void> =>
  pollUntil(holds, 5_000, 'it did not come to that in 5 s')

/** An answer has the ids of what it answers. */
const idsOf = ({ messageId, traceId }: Came) => ({ messageId, traceId })

/** Both kinds of neighbours: on the same hub, and on another one. */
const PLACES = [
  ['one hub', 0],
  ['two hubs', 1],
] as const

describe.each(CORES)('the MXP gateway on %s', (core) => {
  it('registers the connection as an agent of the mesh, that lives by it', async () => {
    await using hub = await startTestHub(core, { graceMs: 0 })
    const agent = await connectMxp(hub, {
      id: 'm1',
      name: 'Prüfer',
      capabilities: ['code.review'],
      metadata: { version: '1.2.0', tags: '["a"]' },
      groups: ['eu'],
    })
    expect(agent.welcome.body).toMatchObject({
      success: true,
      agent_id: 'm1',
      message: expect.any(String),
      session: expect.any(String),
      resumed: false,
      namespace: 'default',
    })
    await using observer = await connectObserver(hub)
    const find = () => observer.request<{ agents: object[] }>({ type: 'discover', where: { group: 'eu' } })
    expect((await find()).agents).toMatchObject([
      { id: 'm1', name: 'Prüfer', transport: 'mxp', connected: true, version: '1.2.0', status: 'online' },
    ])
    await agent.cut()
    await until(async () => (await find()).agents.length === 0)
  })

  it('discovers agents of all doors', async () => {
    await using hub = await startTestHub(core)
    await using worker = await connectAgent(hub, {
      id: 'w1',
      name: 'worker',
      capabilities: ['nlp'],
      version: '2.0.0',
    })
    await using agent = await connectMxp(hub, {
      id: 'm1',
      address: '192.0.2.1:9',
      metadata: { description: 'd' },
    })
    expect((await agent.ask('AgentDiscover', { capability: 'nlp' })).body).toEqual({
      capability: 'nlp',
      agents: [
        expect.objectContaining({ id: 'm1', address: '192.0.2.1:9', description: 'd', status: 'Online' }),
        expect.objectContaining({ id: worker.id, version: '2.0.0', address: '0.0.0.0:0' }),
      ],
      count: 2,
      cursor: null,
    })
    const page = await agent.ask('AgentDiscover', { capability: 'nlp', limit: 1 })
    expect(page.body).toMatchObject({ agents: [{ id: 'm1' }], count: 1, cursor: expect.any(String) })
    const rest = await agent.ask('AgentDiscover', { capability: 'nlp', limit: 1, cursor: page.body.cursor })
    expect(rest.body).toMatchObject({ agents: [{ id: 'w1' }] })
  })

  it('answers heartbeats; FINAL unregisters and closes', async () => {
    await using hub = await startTestHub(core)
    await using agent = await connectMxp(hub, { id: 'm1' })
    const beat = await agent.ask('AgentHeartbeat', { agent_id: 'm1' })
    expect(beat).toMatchObject({ type: 'Response', flags: 0 })
    expect(beat.body).toEqual({
      success: true,
      needs_register: false,
      agent_id: 'm1',
      timestamp: expect.stringMatching(/Z$/),
    })
    expect((await agent.ask('AgentHeartbeat', { agent_id: 'm2' })).body).toMatchObject({
      success: false,
      needs_register: true,
    })
    await using observer = await connectObserver(hub)
    expect((await agent.ask('AgentHeartbeat', { agent_id: 'm1', status: 'Degraded' })).body.success).toBe(
      true,
    )
    const degraded = await observer.request({ type: 'discover', where: { status: ['degraded'] } })
    expect(degraded).toMatchObject({ agents: [{ id: 'm1' }] })
    const last = await agent.ask('AgentHeartbeat', { agent_id: 'm1' }, { flags: FINAL })
    expect(last.body).toMatchObject({ success: true })
    expect(await agent.closed).toMatchObject({ code: 1000 })
    expect(
      await observer.request({ type: 'discover', where: { status: ['online', 'degraded', 'offline'] } }),
    ).toEqual({
      agents: [],
      cursor: null,
    })
  })

  describe.each(PLACES)('over %s', (_title, other) => {
    it('brings a Call to an agent as a query, and its response back as Response', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      await using agent = await connectMxp(mesh.hub(0), { id: 'm1' })
      const call = agent.send(
        'Call',
        { to: { agent: 'w1' }, payload: { q: 'ü' } },
        { flags: REQUIRES_ACK, traceId: 0x0123_4567_89ab_cdefn },
      )
      const query = await worker.next('message')
      expect(query).toMatchObject({
        from: 'm1',
        messageType: 'query',
        payload: { q: 'ü' },
        traceparent: expect.stringMatching(/^00-00000000000000000123456789abcdef-[0-9a-f]{16}-01$/),
      })
      const stored = await agent.answerTo(call, 'Ack')
      expect(stored.body).toEqual({ id: query.id, recipients: 1 })
      await worker.request({
        type: 'send',
        to: { agent: 'm1' },
        messageType: 'response',
        correlationId: query.correlationId,
        payload: { a: 1 },
      })
      const answer = await agent.answerTo(call)
      expect(answer).toMatchObject({ type: 'Response', flags: REQUIRES_ACK, traceId: 0x0123_4567_89ab_cdefn })
      expect(answer.body).toMatchObject({ from: 'w1', messageType: 'response', payload: { a: 1 } })
      agent.ack(answer)
      await agent.roundTrip('m1')
    })

    it('brings a query as a Call, and the Response back; it settles the Call', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      const agent = await connectMxp(mesh.hub(0), { id: 'm1' })
      const traceparent = `00-${'a'.repeat(16)}${'b'.repeat(16)}-${'c'.repeat(16)}-01`
      await worker.request({
        type: 'send',
        to: { agent: 'm1' },
        messageType: 'query',
        correlationId: 'c1',
        payload: 'hello?',
        traceparent,
        receipt: true,
      })
      const call = await agent.next('Call')
      expect(call).toMatchObject({ flags: REQUIRES_ACK, traceId: 0xbbbb_bbbb_bbbb_bbbbn })
      expect(call.body).toMatchObject({
        from: 'w1',
        via: 'direct',
        messageType: 'query',
        payload: 'hello?',
        correlationId: 'c1',
        attempt: 1,
        traceparent,
      })
      agent.respond(call, 'hello!', REQUIRES_ACK)
      const response = await worker.next('message')
      expect(response).toMatchObject({
        from: 'm1',
        messageType: 'response',
        correlationId: 'c1',
        payload: 'hello!',
      })
      // The trace that MXP carried half of is whole again.
      expect(response.traceparent).toMatch(new RegExp(`^00-${'a'.repeat(16)}${'b'.repeat(16)}-`))
      expect(await agent.answerTo(call, 'Ack')).toMatchObject({ flags: 0 })
      expect(await worker.next('receipt')).toMatchObject({ status: 'acked' })
      await agent.cut()
      await using again = await connectMxp(mesh.hub(0), { id: 'm1' })
      expect(again.welcome.body).toMatchObject({ resumed: true, pending: 0 })
    })

    it('keeps what is not acknowledged for the next connection, under the same message id', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      const agent = await connectMxp(mesh.hub(0), { id: 'm1' })
      for (const payload of ['one', 'two', 'three'])
        await worker.request({ type: 'send', to: { agent: 'm1' }, messageType: 'notification', payload })
      const [one, two, three] = [
        await agent.next('Event'),
        await agent.next('Event'),
        await agent.next('Event'),
      ]
      expect([one.body.payload, two.body.payload, three.body.payload]).toEqual(['one', 'two', 'three'])
      agent.ack(two)
      await agent.roundTrip('m1')
      await agent.cut()
      await worker.request({
        type: 'send',
        to: { agent: 'm1' },
        messageType: 'notification',
        payload: 'four',
      })
      // To another hub, with the proof of the session before.
      await using again = await connectMxp(mesh.hub(1), { id: 'm1', session: agent.welcome.body.session })
      const came = [await again.next('Event'), await again.next('Event'), await again.next('Event')]
      expect(came.map(({ messageId, body }) => [messageId, body.payload, body.attempt])).toEqual([
        [one.messageId, 'one', 2],
        [three.messageId, 'three', 2],
        // It may have been pushed to the connection that was being lost.
        [expect.any(BigInt), 'four', expect.any(Number)],
      ])
      for (const event of came) again.ack(event)
      await again.roundTrip('m1')
    })

    it('has two MXP agents call each other, and brings a late Response to whichever connection there is', async () => {
      await using mesh = await startMesh(core, 2)
      const asker = await connectMxp(mesh.hub(0), { id: 'm1' })
      await using answerer = await connectMxp(mesh.hub(other), { id: 'm2' })
      const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 1 })
      const call = await answerer.next('Call')
      expect(call.traceId).toBe(asked.traceId)
      await asker.cut()
      answerer.respond(call, 2, REQUIRES_ACK)
      await answerer.answerTo(call, 'Ack')
      await using again = await connectMxp(mesh.hub(1), { id: 'm1' })
      const answer = await again.answerTo(asked)
      expect(answer).toMatchObject({
        type: 'Response',
        traceId: asked.traceId,
        body: { from: 'm2', payload: 2 },
      })
    })

    it('sends an Event to all unless it says whom to, and pushes broadcasts as Events', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      await using first = await connectMxp(mesh.hub(0), { id: 'm1' })
      await using second = await connectMxp(mesh.hub(other), { id: 'm2' })
      const event = first.send('Event', { payload: { subject: 's' } }, { flags: REQUIRES_ACK })
      expect((await first.answerTo(event)).body).toMatchObject({ recipients: 2 })
      expect(await worker.next('message')).toMatchObject({ via: 'broadcast', messageType: 'notification' })
      const got = await second.next('Event')
      expect(got).toMatchObject({
        flags: REQUIRES_ACK,
        body: { from: 'm1', via: 'broadcast', payload: { subject: 's' } },
      })
      second.ack(got)
      await second.roundTrip('m2')
      second.send('Event', { to: { agent: 'w1' }, messageType: 'graph_sync', payload: 1 })
      expect(await worker.next('message', ({ via }) => via === 'direct')).toMatchObject({
        messageType: 'graph_sync',
      })
    })

    it('hands out work, takes it back, and hears of progress', async () => {
      await using mesh = await startMesh(core, 2, { ackTimeoutMs: 600 })
      await using boss = await connectAgent(mesh.hub(other), { id: 'w1', capabilities: ['other'] })
      await using worker = await connectMxp(mesh.hub(0), { id: 'm1', capabilities: ['code.review'] })
      const task = {
        type: 'send',
        to: { capability: 'code.review' },
        messageType: 'task_delegation',
        payload: 1,
      }
      await boss.request({ ...task, receipt: true })
      const call = await worker.next('Call')
      expect(call.body).toMatchObject({ via: 'queue', capability: 'code.review' })
      for (let i = 0; i < 5; i++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        const beat = { agent_id: 'm1', progress: [String(call.messageId)] }
        expect((await worker.ask('AgentHeartbeat', beat)).body).toMatchObject({ success: true })
      }
      worker.respond(call, 'done')
      expect(await boss.next('receipt', ({ status }) => status === 'acked')).toBeDefined()
      await boss.request(task)
      const lost = await worker.next('Call')
      expect(await worker.next('Error', ({ messageId }) => messageId === lost.messageId)).toMatchObject({
        body: { code: 'REVOKED' },
      })
    })

    it('takes an Error as a rejection: it comes again where it says so, or is given up', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      await using agent = await connectMxp(mesh.hub(0), { id: 'm1' })
      await worker.request({
        type: 'send',
        to: { agent: 'm1' },
        messageType: 'query',
        payload: 1,
        receipt: true,
      })
      const call = await agent.next('Call')
      agent.send('Error', { error: 'busy', code: 'BUSY', requeue: true }, idsOf(call))
      const again = await agent.next('Call')
      expect(again).toMatchObject({ messageId: call.messageId, body: { attempt: 2 } })
      agent.send('Error', { error: 'never', code: 'NO', requeue: false }, idsOf(again))
      expect(await worker.next('receipt')).toMatchObject({ status: 'dead_lettered', reason: 'never' })
    })

    it('streams an answer chunk by chunk, from and to an MXP agent', async () => {
      await using mesh = await startMesh(core, 2)
      await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
      await using answerer = await connectMxp(mesh.hub(other), { id: 'm2' })
      const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 'tell me' })
      const call = await answerer.next('Call')
      const opened = answerer.send('StreamOpen', { stream: 's1' }, { ...idsOf(call), flags: REQUIRES_ACK })
      expect(await answerer.answerTo(opened, 'Ack')).toBeDefined()
      for (const payload of ['Hel', 'lo', '!'])
        answerer.send('StreamChunk', { stream: 's1', payload }, { flags: payload === '!' ? FINAL : 0 })
      const open = await asker.next('StreamOpen')
      expect(open).toMatchObject({ messageId: asked.messageId, traceId: asked.traceId, body: { from: 'm2' } })
      const { stream } = open.body
      for (const [seq, payload] of ['Hel', 'lo', '!'].entries())
        expect((await asker.next('StreamChunk')).body).toEqual({ stream, seq, payload })
      expect(await asker.next('StreamClose')).toMatchObject({
        messageId: asked.messageId,
        flags: FINAL,
        body: { stream, error: null },
      })
    })

    it('streams with an agent that speaks the hub’s own protocol, paced by Acks, until it is cancelled', async () => {
      await using mesh = await startMesh(core, 2)
      await using worker = await connectAgent(mesh.hub(other), { id: 'w1' })
      await using agent = await connectMxp(mesh.hub(0), { id: 'm1' })
      agent.send('StreamOpen', { stream: 'tokens', to: { agent: 'w1' }, correlationId: 'c9' })
      const { stream, correlationId } = await worker.next('stream.open')
      expect(correlationId).toBe('c9')
      const first = agent.send('StreamChunk', { stream: 'tokens', payload: 0 }, { flags: REQUIRES_ACK })
      const second = agent.send('StreamChunk', { stream: 'tokens', payload: 1 }, { flags: REQUIRES_ACK })
      worker.send({ type: 'stream.credit', stream, credit: 1 })
      await agent.answerTo(first, 'Ack')
      expect(await worker.next('stream.chunk')).toMatchObject({ seq: 0, payload: 0 })
      await agent.roundTrip('m1')
      expect(agent.waiting).toEqual([])
      worker.send({ type: 'stream.credit', stream, credit: 1 })
      await agent.answerTo(second, 'Ack')
      worker.send({ type: 'stream.cancel', stream, reason: 'enough' })
      expect((await agent.next('StreamClose')).body).toEqual({
        stream: 'tokens',
        cancelled: true,
        reason: 'enough',
      })
      // And the other way round.
      await worker.request({ type: 'stream.open', stream: 's7', to: { agent: 'm1' } })
      const open = await agent.next('StreamOpen')
      expect(open.body).toMatchObject({ from: 'w1' })
      await worker.next('stream.credit')
      worker.send({ type: 'stream.chunk', stream: 's7', seq: 0, payload: 'x' })
      expect((await agent.next('StreamChunk')).body).toMatchObject({ seq: 0, payload: 'x' })
      agent.send('StreamClose', { stream: open.body.stream, reason: 'no more' })
      expect(await worker.next('stream.cancel')).toMatchObject({ stream: 's7', reason: 'no more' })
    })
  })

  it('leaves with its inbox kept where it says so', async () => {
    await using mesh = await startMesh(core, 2)
    await using worker = await connectAgent(mesh.hub(0), { id: 'w1' })
    await using agent = await connectMxp(mesh.hub(0), { id: 'm1' })
    await agent.ask('AgentHeartbeat', { agent_id: 'm1', keep: true }, { flags: FINAL })
    expect(await agent.closed).toMatchObject({ code: 1000 })
    await worker.request({ type: 'send', to: { agent: 'm1' }, messageType: 'notification', payload: 1 })
    await using again = await connectMxp(mesh.hub(1), { id: 'm1' })
    expect(again.welcome.body).toMatchObject({ resumed: true, pending: 1 })
    expect((await again.next('Event')).body).toMatchObject({ payload: 1 })
  })

  it('is taken over by another connection with proof, and not without it', async () => {
    await using mesh = await startMesh(core, 2)
    await using agent = await connectMxp(mesh.hub(0), { id: 'm1' })
    await expect(connectMxp(mesh.hub(1), { id: 'm1' })).rejects.toThrow('AGENT_ID_EXISTS')
    await using again = await connectMxp(mesh.hub(1), { id: 'm1', session: agent.welcome.body.session })
    expect(await agent.closed).toMatchObject({ code: 4409 })
    await again.roundTrip('m1')
  })
})

describe('the MXP gateway', () => {
  it('is asked for by the subprotocol mxp.v1', async () => {
    await using hub = await startTestHub('memory')
    await using both = await MxpSocket.open(hub, ['mxp.v1', 'meshwire.v1'])
    expect(both.webSocket.protocol).toBe('meshwire.v1')
    await using one = await MxpSocket.open(hub, ['mqtt', 'mxp.v1'])
    expect(one.webSocket.protocol).toBe('mxp.v1')
  })

  it('takes nothing before AgentRegister, and a refused one may be tried again', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await MxpSocket.open(hub)
    expect(await socket.ask('Call', { to: { all: true }, payload: 1 })).toMatchObject({
      type: 'Error',
      body: { code: 'NOT_REGISTERED' },
    })
    expect((await socket.ask('AgentHeartbeat', { agent_id: 'm1' })).body).toMatchObject({
      needs_register: true,
    })
    await expect(socket.register({ capabilities: ['Not so'] })).rejects.toThrow('INVALID_CAPABILITY')
    await expect(socket.register({ namespace: 'Not so' })).rejects.toThrow('SERIALIZATION')
    await expect(socket.register({ concurrency: 1e9 })).rejects.toThrow('INVALID_AGENT')
    await using other = await connectMxp(hub, { name: 'taken' })
    await expect(socket.register({ name: 'taken' })).rejects.toThrow('AGENT_NAME_EXISTS')
    // What follows at once waits until the agent is registered.
    const register = socket.send('AgentRegister', { id: 'm1', name: 'free', capabilities: [] })
    const beat = socket.send('AgentHeartbeat', { agent_id: 'm1' })
    expect((await socket.answerTo(register)).body).toMatchObject({ success: true })
    expect((await socket.answerTo(beat)).body).toMatchObject({ success: true })
    await other.cut()
  })

  it('refreshes a registration, but not as another agent', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectMxp(hub, { id: 'm1', name: 'one', capabilities: ['a.b'] })
    await agent.register({ id: 'm1', name: 'one', capabilities: ['c.d'], metadata: { version: '2.0.0' } })
    const { body } = await agent.ask('AgentDiscover', { capability: 'c.d' })
    expect(body).toMatchObject({ agents: [{ id: 'm1', version: '2.0.0' }] })
    await expect(agent.register({ id: 'm2' })).rejects.toThrow('FORBIDDEN')
  })

  it('answers what it cannot do with an Error, and lives on', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectMxp(hub, { id: 'm1' })
    const codeOf = async (...args: Parameters<typeof agent.ask>) => (await agent.ask(...args)).body.code
    expect(await codeOf('Call', { to: { agent: 'nobody' }, payload: 1 })).toBe('AGENT_NOT_FOUND')
    expect(await codeOf('Call', { to: { capability: 'none' }, ifNone: 'fail', payload: 1 })).toBe(
      'NO_CAPABLE_AGENT',
    )
    expect(await codeOf('Call', { payload: 1 })).toBe('SERIALIZATION')
    expect(await codeOf('Call', { messages: [] })).toBe('SERIALIZATION')
    expect(await codeOf('Call', { to: { agent: 7 }, payload: 1 })).toBe('SERIALIZATION')
    expect(await codeOf('Call', [])).toBe('SERIALIZATION')
    expect(await codeOf('Response', { payload: 1 })).toBe('SERIALIZATION')
    expect(await codeOf('StreamOpen', { stream: 's', to: { agent: 'nobody' } })).toBe('AGENT_NOT_FOUND')
    expect(await codeOf('StreamOpen', { stream: 's' })).toBe('SERIALIZATION')
    expect(await codeOf('StreamChunk', { stream: 's', payload: 1 }, { flags: REQUIRES_ACK })).toBe(
      'UNKNOWN_STREAM',
    )
    expect(await codeOf('Call', { to: { all: true }, payload: 1 }, { flags: COMPRESSED })).toBe(
      'UNSUPPORTED_FLAG',
    )
    expect(await codeOf('Event', { payload: 1 }, { flags: ENCRYPTED })).toBe('UNSUPPORTED_FLAG')
    expect(await codeOf('AgentHeartbeat', { agent_id: 'm1', progress: [1] })).toBe('SERIALIZATION')
    expect(await codeOf('AgentHeartbeat', { agent_id: 'm1', metrics: 'much' })).toBe('SERIALIZATION')
    const trailing = message('AgentDiscover', { capability: 'nlp' })
    agent.raw(Buffer.concat([encode(trailing), Buffer.from([0])]))
    expect((await agent.answerTo(trailing)).body.code).toBe('TRAILING_BYTES')
    await agent.roundTrip('m1')
    expect(agent.waiting).toEqual([])
  })

  it('closes who sends what is no MXP message, or text', async () => {
    await using hub = await startTestHub('memory')
    await using broken = await connectMxp(hub)
    broken.raw(new TextEncoder().encode('this is not an MXP message, whatever its length'))
    expect(await broken.next('Error')).toMatchObject({ messageId: 0n, body: { code: 'INVALID_MAGIC' } })
    expect(await broken.closed).toMatchObject({ code: 4400 })
    await using texting = await connectMxp(hub)
    texting.raw('{"type":"ping"}')
    expect(await texting.closed).toMatchObject({ code: 1003 })
  })

  it('does not wait for chunks without end', async () => {
    await using hub = await startTestHub('memory')
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using agent = await connectMxp(hub, { id: 'm1' })
    agent.send('StreamOpen', { stream: 's', to: { agent: 'w1' } })
    await worker.next('stream.open')
    for (let i = 0; i < 20; i++) agent.send('StreamChunk', { stream: 's', payload: 'x'.repeat(100_000) })
    expect((await agent.next('StreamClose')).body).toMatchObject({ error: { code: 'overflow' } })
    expect(await worker.next('stream.end')).toMatchObject({ error: { code: 'overflow' } })
    await agent.roundTrip('m1')
  })

  it('pings by WebSocket, and drops who is silent', async () => {
    await using hub = await startTestHub('memory', { heartbeatIntervalMs: 150, heartbeatTimeoutMs: 150 })
    await using agent = await connectMxp(hub)
    await using silent = await connectMxp(hub)
    // Answers no ping any more.
    silent.webSocket.pong = () => undefined
    let pings = 0
    agent.webSocket.on('ping', () => pings++)
    await until(async () => pings >= 3)
    expect(await silent.closed).toMatchObject({ code: 4002 })
    expect(agent.webSocket.readyState).toBe(agent.webSocket.OPEN)
  })

  it('says when to leave while a hub drains', async () => {
    const hub = await startTestHub('memory')
    await using agent = await connectMxp(hub)
    const drained = hub.drain()
    expect(await agent.next('Event')).toMatchObject({
      flags: 0,
      body: { type: 'goaway', reconnectAfterMs: 0 },
    })
    await agent.cut()
    await drained
    await hub.close()
  })
})
