import { describe, expect, it } from 'vitest'
import { encode } from '../../src/mxp/index.ts'
import { connectAgent } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { connectMxp, MXP_FLAGS, MxpSocket } from '../support/mxp-agent.ts'
import { message, MxpUdp } from '../support/mxp-udp.ts'

const { REQUIRES_ACK, FINAL } = MXP_FLAGS

describe.each(CORES)('a Call that nobody will answer, on %s,', (core) => {
  it('is told to its caller by an Error with its ids, once it is given up', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    await using answerer = await connectMxp(mesh.hub(1), { id: 'm2' })
    const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 1 })
    const { messageId, traceId } = await answerer.next('Call')
    answerer.send('Error', { error: 'cannot', code: 'NO', requeue: false }, { messageId, traceId })
    const told = await asker.answerTo(asked)
    expect(told).toMatchObject({ type: 'Error', flags: 0, traceId: asked.traceId })
    expect(told.body).toMatchObject({ error: 'cannot', code: 'NO', from: 'm2', messageType: 'response' })
    // It need not be acknowledged: nothing of it is left, once the Call is given up.
    const store = await mesh.store()
    await expect.poll(() => store.deadLetters.list('default', null, 10)).toHaveLength(1)
    await expect.poll(() => store.inboxes.depth('default', 'm1')).toMatchObject({ replies: { entries: 0 } })
    await asker.cut()
    await using again = await connectMxp(mesh.hub(1), { id: 'm1' })
    expect(again.welcome.body).toMatchObject({ resumed: true, pending: 0 })
  })

  it('is told as well when its time is over, or its agent gone', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    const late = asker.send('Call', { to: { capability: 'none' }, payload: 1, ttlMs: 200 })
    expect((await asker.answerTo(late)).body).toMatchObject({ code: 'CALL_FAILED', status: 'expired' })
    await using worker = await connectAgent(mesh.hub(1), { id: 'w1', window: 1 })
    const lost = asker.send('Call', { to: { agent: 'w1' }, payload: 2 })
    await worker.next('message')
    await worker.request({ type: 'bye' })
    expect((await asker.answerTo(lost)).body).toMatchObject({ code: 'CALL_FAILED', agentId: 'w1' })
  })

  it('is no matter while it goes well: who is answered hears nothing else', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    await using answerer = await connectMxp(mesh.hub(1), { id: 'm2' })
    const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 1 })
    const call = await answerer.next('Call')
    await answerer.ask('AgentHeartbeat', { agent_id: 'm2', progress: [String(call.messageId)] })
    answerer.respond(call, 2, REQUIRES_ACK)
    await answerer.answerTo(call, 'Ack')
    asker.ack(await asker.answerTo(asked))
    await asker.roundTrip('m1')
    expect(asker.waiting).toEqual([])
    // Who asks for receipts has them as they are.
    asker.send('Call', { to: { agent: 'm2' }, payload: 3, receipt: true })
    answerer.ack(await answerer.next('Call'))
    expect((await asker.next('Event')).body).toMatchObject({ type: 'receipt', status: 'acked' })
    // To many there is none.
    const all = asker.send('Call', { to: { all: true }, payload: 4 }, { flags: REQUIRES_ACK })
    expect(await asker.answerTo(all)).toMatchObject({ type: 'Ack' })
    const now = { to: { agent: 'm2' }, payload: 5, durability: 'transient' }
    expect(await asker.answerTo(asker.send('Call', now, { flags: REQUIRES_ACK }))).toMatchObject({
      type: 'Ack',
    })
  })
})

describe('the MXP gateway', () => {
  it('answers each chunk that wants an Ack, also those that a stream’s end overtakes', async () => {
    await using hub = await startTestHub('memory')
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using agent = await connectMxp(hub, { id: 'm1' })
    agent.send('StreamOpen', { stream: 's', to: { agent: 'w1' } })
    const { stream } = await worker.next('stream.open')
    const waits = agent.send('StreamChunk', { stream: 's', payload: 1 }, { flags: REQUIRES_ACK })
    await agent.roundTrip('m1')
    worker.send({ type: 'stream.cancel', stream })
    expect(await agent.answerTo(waits)).toMatchObject({ type: 'Error', body: { code: 'UNKNOWN_STREAM' } })
    expect((await agent.next('StreamClose')).body).toMatchObject({ stream: 's', cancelled: true })
    agent.send('StreamOpen', { stream: 't', to: { agent: 'w1' } })
    const chunks = Array.from({ length: 20 }, () =>
      agent.send('StreamChunk', { stream: 't', payload: 'x'.repeat(100_000) }, { flags: REQUIRES_ACK }),
    )
    for (const chunk of chunks)
      expect(await agent.answerTo(chunk)).toMatchObject({ type: 'Error', body: { code: 'UNKNOWN_STREAM' } })
  })

  it('brings what parsers of every language take: no half of a surrogate pair', async () => {
    await using hub = await startTestHub('memory')
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using agent = await connectMxp(hub, { id: 'm1' })
    const payload = { '\udfff': ['\ud83d', '\ud83d\ude00', '\\ud83d', '\\\ud800\ud800', '\\\\ud800'] }
    await worker.request({ type: 'send', to: { agent: 'm1' }, messageType: 'query', payload })
    const { body } = await agent.next('Call')
    expect(body.payload).toEqual({
      '\ufffd': ['\ufffd', '\ud83d\ude00', '\\ud83d', '\\\ufffd\ufffd', '\\\\ud800'],
    })
  })

  it('refuses numbers and levels that would not be what was sent, rather than changing them', async () => {
    await using hub = await startTestHub('memory')
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using agent = await connectMxp(hub, { id: 'm1' })
    const call = (payload: string) => {
      const asked = message('Call', {})
      const text = `{"to":{"agent":"w1"},"payload":${payload}}`
      agent.raw(encode({ ...asked, payload: new TextEncoder().encode(text) }))
      return asked
    }
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
    const bad = ['1e400', '[{"a":-1E+999}]', '9'.repeat(400), `1${'0'.repeat(250)}e99`, nested(127)]
    for (const payload of bad)
      expect((await agent.answerTo(call(payload))).body, payload.slice(0, 20)).toMatchObject({
        code: 'SERIALIZATION',
      })
    const good = ['1e308', '"1e400"', '1e-400', `"${'9'.repeat(400)}"`, nested(126)]
    for (const payload of good) {
      call(payload)
      expect((await worker.next('message')).payload).toEqual(JSON.parse(payload))
    }
    // As deep as no stack is.
    expect((await agent.answerTo(call(nested(100_000)))).body).toMatchObject({ code: 'SERIALIZATION' })
    await agent.roundTrip('m1')
  })

  it('brings what nests deeper than readers go as a string with its JSON', async () => {
    await using hub = await startTestHub('memory')
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using agent = await connectMxp(hub, { id: 'm1' })
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
    for (const payload of [nested(120), nested(121), nested(128)]) {
      await worker.request({ type: 'send', to: { agent: 'm1' }, messageType: 'query', payload })
      const came = await agent.next('Call')
      const { payload: told } = came.body
      expect(typeof told === 'string' ? JSON.parse(told) : told).toEqual(payload)
      expect(typeof told).toBe(JSON.stringify(payload).length > 240 ? 'string' : 'object')
    }
    await worker.request({ type: 'stream.open', stream: 's', to: { agent: 'm1' } })
    await worker.next('stream.credit')
    worker.send({ type: 'stream.chunk', stream: 's', seq: 0, payload: nested(128) })
    expect((await agent.next('StreamChunk')).body.payload).toBe(JSON.stringify(nested(128)))
  })

  it('refuses a "where" that is no object', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectMxp(hub, { id: 'm1' })
    for (const where of ['x', ['nlp'], 7])
      expect((await agent.ask('AgentDiscover', { capability: 'nlp', where })).body.code).toBe('SERIALIZATION')
  })

  it('judges names and capabilities by the strict rules where they are said, and when it is registered again', async () => {
    await using hub = await startTestHub('memory', { mxpRules: 'strict' })
    await using socket = await MxpSocket.open(hub)
    const refused = [
      [{ name: 'x y' }, 'INVALID_AGENT_NAME'],
      [{ name: 'ab' }, 'INVALID_AGENT_NAME'],
      [{ capabilities: [] }, 'INVALID_CAPABILITIES'],
      [{ capabilities: ['code.review'] }, 'INVALID_CAPABILITY'],
      [{ capabilities: ['a'] }, 'INVALID_CAPABILITY'],
    ] as const
    for (const [fields, code] of refused) await expect(socket.register(fields)).rejects.toThrow(code)
    const agent = { id: 'm1', name: 'm-one', capabilities: ['nlp'] }
    await socket.register(agent)
    await expect(socket.register({ ...agent, capabilities: ['code.review'] })).rejects.toThrow(
      'INVALID_CAPABILITY',
    )
    await socket.register({ ...agent, capabilities: ['nlp', 'ocr'] })
  })

  it('and the registry over UDP are there on IPv6', async () => {
    await using hub = await startTestHub('memory', { host: '::1', mxpUdpHost: '::1', mxpUdpPort: 0 })
    await using agent = await connectMxp(hub, { id: 'm1', capabilities: ['nlp'], address: '[::1]:9' })
    await using udp = await MxpUdp.open(hub, '::1')
    const other = { id: 'u1', name: 'u-one', capabilities: ['nlp'], address: '[::1]:8' }
    expect(await udp.ask('AgentRegister', other)).toMatchObject({ success: true })
    expect(await udp.ask('AgentHeartbeat', { agent_id: 'u1' })).toMatchObject({ success: true })
    expect(await udp.ask('AgentDiscover', { capability: 'nlp' })).toMatchObject({
      agents: [{ address: '[::1]:9' }, { address: '[::1]:8' }],
    })
    expect((await agent.ask('AgentDiscover', { capability: 'nlp' })).body).toMatchObject({ count: 2 })
  })

  it('keeps its agents from the registry over UDP, which says so', async () => {
    await using hub = await startTestHub('memory', { mxpUdpPort: 0 })
    await using _agent = await connectMxp(hub, { id: 'm1' })
    await using udp = await MxpUdp.open(hub)
    const same = { id: 'm1', name: 'other', capabilities: [], address: '127.0.0.1:1' }
    expect(await udp.ask('AgentRegister', same)).toMatchObject({
      code: 'AGENT_ID_EXISTS',
      error: 'Agent id belongs to an agent that did not register over UDP: m1',
    })
    // It is registered still.
    expect(await udp.ask('AgentHeartbeat', { agent_id: 'm1' }, FINAL)).toMatchObject({
      success: false,
      needs_register: false,
      message: 'Agent id belongs to an agent that did not register over UDP: m1',
    })
  })
})
