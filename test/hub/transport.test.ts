import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { DiscoverResult } from '../../protocol/replies.ts'
import { connectAgent, connectObserver, openSocket } from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { sendFrame } from '../support/talk.ts'

const PING = '{"type":"ping"}'

describe('the upgrade', () => {
  it('speaks meshwire.v1 with a client that offers it, alone or among others', async () => {
    await using hub = await startTestHub('memory')
    await using only = await openSocket(hub)
    await using among = await openSocket(hub, { protocols: ['graphql-ws', 'meshwire.v1'] })
    expect(only.webSocket.protocol).toBe('meshwire.v1')
    expect(among.webSocket.protocol).toBe('meshwire.v1')
  })

  it('serves a client that offers no subprotocol', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1', protocols: [] })
    expect(agent.webSocket.protocol).toBe('')
    await agent.roundTrip()
  })

  it('is refused with 400 where only other subprotocols are offered', async () => {
    await using hub = await startTestHub('memory')
    await expect(openSocket(hub, { protocols: ['meshwire.v2', 'mqtt'] })).rejects.toThrow('400')
  })

  it('happens at /mesh only, whatever the query', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(`${hub.url}?from=test`)
    expect(socket.webSocket.protocol).toBe('meshwire.v1')
    for (const path of ['/', '/mesh/', '/mesh/default', '/MESH', '/ws']) {
      await expect(openSocket(`ws://127.0.0.1:${hub.port}${path}`), path).rejects.toThrow('404')
    }
  })

  it('leaves permessage-deflate off, also for a client that offers it', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub, {
      headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
    })
    expect(socket.webSocket.extensions).toBe('')
  })
})

describe('HTTP on the same port', () => {
  it('is answered as ever where another upgrade is offered with a request', async () => {
    await using hub = await startTestHub('memory')
    const ask = (method: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(hub.port, '127.0.0.1')
        let text = ''
        socket.on('data', (piece: Buffer) => (text += piece.toString()))
        socket.on('end', () => resolve(text)).on('error', reject)
        socket.write(
          `${method} /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
        )
      })
    expect(await ask('GET')).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*"status":"healthy"/)
    expect(await ask('POST')).toMatch(/^HTTP\/1\.1 501 [^]*ask without Upgrade/)
  })

  it('answers /health with 200 and JSON', async () => {
    await using hub = await startTestHub('memory')
    await using _agent = await connectAgent(hub, { id: 'a1' })
    const response = await fetch(`${hub.httpUrl}/health`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toContain('application/json')
    expect(await response.json()).toMatchObject({
      status: 'healthy',
      hub: hub.id,
      core: 'memory',
      active_sessions: 1,
    })
  })

  it('answers any other path with 404', async () => {
    await using hub = await startTestHub('memory')
    expect((await fetch(`${hub.httpUrl}/nothing`)).status).toBe(404)
  })
})

describe('frames', () => {
  it('come several in one WebSocket message, and empty lines among them are ignored', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(`\n\n{"type":"leader","ref":1}\n\n\n{"type":"leader","ref":2}\n{"type":"leader","ref":"3"}\n`)
    for (const ref of [1, 2, '3']) expect(await agent.next('ok')).toMatchObject({ ref })
    agent.raw('')
    agent.raw('\n')
    await agent.roundTrip()
    expect(agent.waiting).toEqual([])
  })

  it('are separated by U+000A only: other line ends are white space or text', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(`{"type":"leader",\r"ref":1}\r\n{"type":"leader","ref":2}\r\n`)
    for (const ref of [1, 2]) expect(await agent.next('ok')).toMatchObject({ ref })
    const payload = 'line\u2028separator\u2029paragraph\u0085next\u000bvertical\nescaped'
    await agent.request(sendFrame('a1', payload))
    expect(await agent.next('message')).toMatchObject({ payload })
  })

  it('are answered with the ref they carry, integer or string, as it was', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    const refs = [0, -1, 7, Number.MAX_SAFE_INTEGER, '', '7', 'é"\\\u0001', 'x'.repeat(256)]
    for (const ref of refs)
      expect(await agent.answer({ type: 'leader', ref })).toMatchObject({ type: 'ok', ref })
  })

  it('may carry unknown fields, at every level', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    const agent = { id: 'a1', name: 'tester', capabilities: ['nlp'], colour: 'red' }
    expect((await socket.hello({ agent, shoeSize: 43, extra: { deep: [] } })).agent).not.toHaveProperty(
      'colour',
    )
    const to = { agent: 'a1', via: 'pigeon' }
    await socket.request({ type: 'send', to, messageType: 'query', payload: null, priority: 9 })
    expect(await socket.next('message')).not.toHaveProperty('priority')
    await socket.request({
      type: 'discover',
      where: { colour: 'red', capabilities: { all: ['nlp'], none: 1 } },
    })
  })

  it('may say null for whatever is optional', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    const agent = {
      id: null,
      version: null,
      profiles: null,
      groups: null,
      address: null,
      metadata: null,
      concurrency: null,
    }
    const flags = { leaderEligible: null, ephemeral: null }
    await socket.hello({
      token: null,
      namespace: null,
      producer: null,
      session: null,
      window: null,
      agent: { name: 'tester', capabilities: ['nlp'], ...agent, ...flags },
    })
    const to = { all: true, agent: null, name: null, leader: null, group: null, capability: null, mode: null }
    const optional = {
      seq: null,
      correlationId: null,
      ttlMs: null,
      durability: null,
      receipt: null,
      asLeader: null,
      traceparent: null,
    }
    await socket.request({
      type: 'send',
      to,
      messageType: 'query',
      payload: null,
      echo: null,
      ifNone: null,
      ...optional,
    })
    await socket.request({ type: 'discover', where: null, limit: null, cursor: null })
    await socket.request({ type: 'subscribe', events: null, where: null, since: null })
  })

  it('of an unknown type are answered bad_frame with their ref, and the connection lives on', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    const error = await agent.refusal({ type: 'teleport' })
    expect(error).toMatchObject({ code: 'bad_frame', retryable: false, retryAfterMs: null })
    expect(error.message).toContain('"teleport"')
    for (const type of [
      'welcome',
      'ok',
      'message',
      'toString',
      'constructor',
      '__proto__',
      '',
      'Hello',
      ' ping',
    ]) {
      expect(await agent.refusal({ type }), type).toMatchObject({ code: 'bad_frame' })
    }
    for (const type of [null, 1, true, [], {}, ['ping']]) {
      expect(await agent.refusal({ type }), JSON.stringify(type)).toMatchObject({ code: 'bad_frame' })
    }
    expect(await agent.refusal({})).toMatchObject({ code: 'bad_frame' })
    await agent.roundTrip()
  })

  it('that are wrong and carry no ref are answered without one', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    for (const ref of [undefined, null, 1.5, 2 ** 53, true, [], {}, 'x'.repeat(257)]) {
      agent.send({ type: 'leader', ref })
      const answer = await agent.next('error')
      expect(answer.error).toMatchObject({ code: 'bad_frame' })
      expect(answer).not.toHaveProperty('ref')
    }
  })

  it('with a field of the wrong JSON type are answered bad_frame, naming the field, and the connection lives on', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    const wrong: readonly [string, object][] = [
      ['to', { type: 'send', to: 'a1', messageType: 'query', payload: 1 }],
      ['to', { type: 'send', messageType: 'query', payload: 1 }],
      ['to.agent', { type: 'send', to: { agent: 7 }, messageType: 'query', payload: 1 }],
      ['messageType', { type: 'send', to: { agent: 'a1' }, messageType: 7, payload: 1 }],
      ['ttlMs', { type: 'send', to: { agent: 'a1' }, messageType: 'query', payload: 1, ttlMs: '60000' }],
      ['ttlMs', { type: 'send', to: { agent: 'a1' }, messageType: 'query', payload: 1, ttlMs: 0 }],
      ['seq', { type: 'send', to: { agent: 'a1' }, messageType: 'query', payload: 1, seq: 1.5 }],
      [
        'durability',
        { type: 'send', to: { agent: 'a1' }, messageType: 'query', payload: 1, durability: 'eternal' },
      ],
      ['limit', { type: 'discover', limit: '10' }],
      ['where', { type: 'discover', where: [] }],
      ['events.0', { type: 'subscribe', events: ['agent.born'] }],
      ['since', { type: 'subscribe', since: -1 }],
      ['status', { type: 'update', status: 'offline' }],
      ['metrics.load', { type: 'update', metrics: { load: '0.9' } }],
      ['subscription', { type: 'unsubscribe', subscription: 3 }],
      ['keep', { type: 'bye', keep: 'yes' }],
    ]
    for (const [field, frame] of wrong) {
      const error = await agent.refusal(frame)
      expect(error.code, field).toBe('bad_frame')
      expect(error.message).toContain(field)
    }
    await agent.roundTrip()
  })

  it('that need no answer are told what is wrong with them all the same', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    const wrong = [
      { type: 'ack' },
      { type: 'ack', ids: 'm1' },
      { type: 'ack', ids: Array(1001).fill('m') },
      { type: 'nack' },
    ]
    for (const frame of [...wrong, { type: 'progress', ids: [1] }, { type: 'pong', status: 'offline' }]) {
      agent.send(frame)
      expect((await agent.next('error')).error).toMatchObject({ code: 'bad_frame' })
    }
    agent.send({ type: 'ack', ids: Array(1000).fill('m') })
    await agent.roundTrip()
    expect(agent.waiting).toEqual([])
  })

  it('hold strings of at most 256 characters where nothing else is said', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    for (const field of ['correlationId', 'traceparent']) {
      await agent.request(sendFrame('a1', 1, { [field]: 'ü'.repeat(256) }))
      expect(await agent.next('message')).toHaveProperty(field, 'ü'.repeat(256))
      expect(await agent.refusal(sendFrame('a1', 1, { [field]: 'ü'.repeat(257) }))).toMatchObject({
        code: 'bad_frame',
      })
    }
    expect(await agent.refusal({ type: 'update', statusReason: 'x'.repeat(257) })).toMatchObject({
      code: 'bad_frame',
    })
    expect(await agent.refusal(sendFrame('a1', 1, { messageType: 'x'.repeat(65) }))).toMatchObject({
      code: 'bad_frame',
    })
    await agent.request(sendFrame('a1', 1, { messageType: 'x'.repeat(64) }))
  })
})

describe('what breaks the protocol closes the connection', () => {
  it.each([
    'hello',
    '{"type":"ping"',
    "{'type':'ping'}",
    '{"type":"ping"}{"type":"ping"}',
    '\0',
    '\ufeff{"type":"ping"}',
  ])('text that is not JSON with 4400: %j', async (text) => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(text)
    expect(await agent.closed).toMatchObject({ code: 4400 })
  })

  it.each(['[]', '[{"type":"ping"}]', '1', '"ping"', 'null', 'true'])(
    'a line that is no object with 4400, also among good ones: %j',
    async (line) => {
      await using hub = await startTestHub('memory')
      await using alone = await connectAgent(hub, { id: 'a1' })
      await using among = await connectAgent(hub, { id: 'a2' })
      await using greeting = await openSocket(hub)
      alone.raw(line)
      among.raw(`${PING}\n${line}\n${PING}`)
      greeting.raw(line)
      for (const socket of [alone, among, greeting]) expect(await socket.closed).toMatchObject({ code: 4400 })
    },
  )

  it('a binary message with 1003, before and after the welcome', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    await using greeting = await openSocket(hub)
    for (const socket of [agent, greeting]) {
      socket.raw(Buffer.from(PING))
      expect(await socket.closed).toMatchObject({ code: 1003 })
    }
  })

  it('a message above maxMessageBytes with 1009, in one piece or in many; one of that size is served', async () => {
    await using hub = await startTestHub('memory', { maxMessageBytes: 10_000 })
    await using whole = await connectAgent(hub, { id: 'a1' })
    await using pieces = await connectAgent(hub, { id: 'a2' })
    expect(whole.welcome.limits.maxMessageBytes).toBe(10_000)
    whole.raw(PING.padEnd(10_000))
    await whole.next('pong')
    whole.raw(PING.padEnd(10_001))
    for (let i = 0; i <= 10; i++) pieces.webSocket.send(' '.repeat(1_000), { fin: i === 10 })
    for (const agent of [whole, pieces]) expect(await agent.closed).toMatchObject({ code: 1009 })
  })
})

describe('sizes', () => {
  it('a payload of maxPayloadBytes of JSON in UTF-8 arrives, a byte more is payload_too_large', async () => {
    await using hub = await startTestHub('memory', { maxMessageBytes: 20_000 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const { maxPayloadBytes } = agent.welcome.limits
    expect(maxPayloadBytes).toBe(20_000 - 4_096)
    const fitting = [
      'x'.repeat(maxPayloadBytes - 2),
      'é'.repeat((maxPayloadBytes - 2) / 2),
      '"'.repeat((maxPayloadBytes - 2) / 2),
    ]
    for (const payload of fitting) {
      await agent.request(sendFrame('a1', payload))
      expect(await agent.next('message')).toMatchObject({ payload })
      const error = await agent.refusal(sendFrame('a1', `${payload}x`))
      expect(error).toMatchObject({ code: 'payload_too_large', retryable: false })
      expect(error.message).toContain(String(maxPayloadBytes))
    }
  })

  it('a payload of the default size, 4 KiB below 1 MiB, arrives', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    expect(agent.welcome.limits).toMatchObject({ maxMessageBytes: 1_048_576, maxPayloadBytes: 1_044_480 })
    const payload = 'x'.repeat(1_044_478)
    await agent.request(sendFrame('a1', payload))
    expect((await agent.next('message')).payload).toBe(payload)
  })

  it('the hub joins frames, but never beyond maxMessageBytes', async () => {
    await using hub = await startTestHub('memory', { maxMessageBytes: 8_192 })
    await using receiver = await connectAgent(hub, { id: 'a1' })
    await using sender = await connectAgent(hub, { id: 'a2' })
    // All of them arrive in one message and are pushed in one turn.
    const frames = Array.from({ length: 60 }, (_, ref) => JSON.stringify({ ref, ...sendFrame('a1', 'ü') }))
    sender.raw(frames.slice(0, 30).join('\n'))
    sender.raw(frames.slice(30).join('\n'))
    for (let i = 0; i < 60; i++) await receiver.next('message')
    const sizes = receiver.texts.map((text) => Buffer.byteLength(text))
    expect(Math.max(...sizes)).toBeLessThanOrEqual(8_192)
    expect(receiver.texts.some((text) => text.includes('\n'))).toBe(true)
  })
})

describe.each(CORES)('what a client was told is done, it sees: on %s', (core) => {
  it('welcome comes when the hub itself knows the agent, ok when it knows the change', async () => {
    await using hub = await startTestHub(core)
    await using observer = await connectObserver(hub)
    for (let i = 0; i < 10; i++) {
      await using agent = await connectAgent(hub, { id: `a${i}` })
      const byName = { type: 'discover', where: { name: `agent-a${i}` } }
      expect((await agent.request<DiscoverResult>(byName)).agents).toHaveLength(1)
      await agent.request({ type: 'update', capabilities: [`cap-${i}`] })
      const byCapability = { type: 'discover', where: { capabilities: { all: [`cap-${i}`] } } }
      expect((await observer.request<DiscoverResult>(byCapability)).agents).toMatchObject([{ id: `a${i}` }])
      await agent.request({ type: 'bye' })
      expect((await observer.request<DiscoverResult>(byCapability)).agents).toEqual([])
    }
  })
})
