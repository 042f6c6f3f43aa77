import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connect } from '../../client/node.ts'
import { Api } from '../support/api.ts'
import { startApp } from '../support/app.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { bearer, joinAs, withSecret } from '../support/authentication.ts'
import { certificateIn, temporaryFolder } from '../support/certificates.ts'
import { startTestHub } from '../support/hubs.ts'
import { tokenFor } from '../support/tokens.ts'

/** A connection that speaks no HTTP by itself, and what has come on it until it ended. */
function dial(port: number): { socket: Socket; ended: Promise<string> } {
  const socket = connectTcp(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let text = ''
  socket.on('data', (data: Buffer) => (text += data.toString()))
  socket.on('error', () => undefined)
  return { socket, ended: once(socket, 'close').then(() => text) }
}

const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

/** The first bytes of the answer to an upgrade. */
async function upgrade(port: number, headers = ''): Promise<string> {
  const { socket } = dial(port)
  socket.write(`GET /mesh HTTP/1.1\r\nHost: localhost\r\n${UPGRADE}${headers}\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  return head.toString()
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])

describe('handshakes from one address', () => {
  it('above the rate are answered 429, each with another time to come back, before the upgrade', async () => {
    await using hub = await startTestHub('memory', { addressHandshakesPerSecond: 1 })
    const answers = await Promise.all(Array.from({ length: 30 }, () => upgrade(hub.port)))
    const refused = answers.filter((answer) => statusOf(answer) === 429)
    // Ten seconds' worth at once.
    expect(answers.filter((answer) => statusOf(answer) === 101).length).toBe(30 - refused.length)
    expect(refused.length).toBeLessThanOrEqual(20)
    expect(refused.length).toBeGreaterThanOrEqual(15)
    const times = refused.map((answer) => Number(/\r\nRetry-After: (\d+)\r\n/.exec(answer)?.[1]))
    expect(Math.min(...times)).toBeGreaterThanOrEqual(1)
    // One a second may come back; a time may be told twice where the second turned in between.
    expect(new Set(times).size).toBeGreaterThanOrEqual(refused.length - 2)
    // Plain requests are not handshakes.
    expect((await fetch(`${hub.httpUrl}/health`)).status).toBe(200)
  })

  it('are counted by what a trusted proxy says, and by that alone', async () => {
    const forwarded = (address: string): string => `X-Forwarded-For: ${address}\r\n`
    await using behind = await startTestHub('memory', {
      addressHandshakesPerSecond: 1,
      trustedProxies: ['127.0.0.0/8'],
    })
    const flood = async (port: number, headers: (index: number) => string): Promise<number> => {
      const answers = Array.from({ length: 20 }, (_, index) => upgrade(port, headers(index)))
      const refused = (await Promise.all(answers)).filter((answer) => statusOf(answer) === 429).length
      return refused
    }
    expect(await flood(behind.port, () => forwarded('192.0.2.1'))).toBeGreaterThan(0)
    // Another client of the same proxy; and one that makes up others before it.
    expect(statusOf(await upgrade(behind.port, forwarded('192.0.2.2')))).toBe(101)
    expect(await flood(behind.port, (i) => forwarded(`198.51.100.${i}, 192.0.2.3`))).toBeGreaterThan(0)
    await using open = await startTestHub('memory', { addressHandshakesPerSecond: 1 })
    expect(await flood(open.port, (i) => forwarded(`192.0.2.${i}`))).toBeGreaterThan(0)
  })

  it('are not limited where that is switched off', async () => {
    await using hub = await startTestHub('memory', { addressHandshakesPerSecond: 0, handshakesPerSecond: 0 })
    const answers = await Promise.all(Array.from({ length: 100 }, () => upgrade(hub.port)))
    expect(new Set(answers.map(statusOf))).toEqual(new Set([101]))
  })

  it('that were refused come back by themselves, with the client of Node', async () => {
    await using hub = await startTestHub('memory', { addressHandshakesPerSecond: 1 })
    await expect.poll(async () => statusOf(await upgrade(hub.port)), { interval: 1 }).toBe(429)
    const reasons: string[] = []
    await using client = await connect({
      url: hub.url,
      name: 'late',
      capabilities: ['nlp'],
      onStatus: (event) => {
        if (event.type === 'waiting') reasons.push(event.cause.reason)
      },
    })
    expect(client.state.type).toBe('open')
    expect(reasons[0]).toBe('busy')
  })
})

describe('HTTP requests', () => {
  /** Requests until one is refused. */
  async function untilRefused(url: string): Promise<{ count: number; refusal: Response }> {
    for (let count = 0; count < 100; count++) {
      const refusal = await fetch(url)
      if (refusal.status === 429) return { count, refusal }
      await refusal.text()
    }
    throw new Error('none was refused')
  }

  it('over the rate of their address are answered 429 with Retry-After and what to do', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 5 })
    const { count, refusal } = await untilRefused(`${hub.httpUrl}/mesh`)
    expect(count).toBeGreaterThanOrEqual(5)
    expect(count).toBeLessThan(20)
    expect(refusal.headers.get('retry-after')).toBe('1')
    expect(await refusal.json()).toEqual({
      error: {
        code: 'rate_limited',
        message: expect.any(String),
        retryable: true,
        retryAfterMs: expect.any(Number),
        remedy: 'Wait for the time that the answer names.',
      },
    })
  })

  it('to a path that there is not count as well; those that ask how the hub is do not', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 3 })
    expect((await untilRefused(`${hub.httpUrl}/nothing`)).count).toBeLessThan(20)
    for (let i = 0; i < 10; i++)
      for (const path of ['health', 'ready']) expect((await fetch(`${hub.httpUrl}/${path}`)).status).toBe(200)
  })

  it('of a principal share its rate with its connections', async () => {
    await using hub = await startApp({
      settings: { principalRatePerSecond: 1, principalRateBurst: 6 },
      principalOf: () => 'team',
      extend: (app) => {
        app.addHook('onRequest', (request, _reply, done) => {
          if (request.headers['x-who'] !== undefined) request.principalKey = String(request.headers['x-who'])
          done()
        })
      },
    })
    await using agent = await connectAgent(hub, { id: 'team:a1', name: 'agent-1' })
    for (let ref = 0; ref < 3; ref++) await agent.request({ type: 'leader' })
    const ask = async (who: string): Promise<number> =>
      (await fetch(`${hub.httpUrl}/mesh`, { headers: { 'x-who': who } })).status
    expect([await ask('team'), await ask('team'), await ask('team')]).toEqual([426, 426, 429])
    expect(await ask('other')).toBe(426)
  })

  it('of a principal whose connections use all of its rate succeed when Retry-After says', async () => {
    await using hub = await startTestHub('memory', {
      ...(await withSecret()),
      principalRatePerSecond: 50,
      principalRateBurst: 50,
    })
    await using agent = await joinAs(hub, 'team')
    const lines = (count: number): string =>
      Array.from({ length: count }, (_, ref) => JSON.stringify({ type: 'leader', ref })).join('\n')
    // Five seconds' worth.
    agent.raw(lines(300))
    await agent.nextWhere((frame) => 'ref' in frame && frame.ref === 48, 'the last of the burst')
    const headers = bearer(await tokenFor('team'))
    for (let i = 0; i < 2; i++) {
      const refused = await fetch(`${hub.httpUrl}/registry/agents`, { headers })
      expect(refused.status).toBe(429)
      const seconds = Number(refused.headers.get('retry-after'))
      await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
      expect((await fetch(`${hub.httpUrl}/registry/agents`, { headers })).status).toBe(200)
    }
  })

  it('whose token is not accepted count for their address, at every door', async () => {
    await using hub = await startTestHub('memory', {
      ...(await withSecret()),
      ratePerSecond: 1,
      rateBurst: 3,
    })
    for (const path of ['/registry/agents', '/metrics', '/nowhere', '/api/v1/agents']) {
      const statuses: number[] = []
      for (let i = 0; i < 8; i++)
        statuses.push((await fetch(hub.httpUrl + path, { headers: bearer('x') })).status)
      expect(new Set(statuses), path).toContain(429)
    }
    const refused = await fetch(`${hub.httpUrl}/metrics`)
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.any(Number)])
  })

  it('to the operations API count for who its token is of, and without one for their address', async () => {
    await using hub = await startTestHub('memory', {
      ...(await withSecret()),
      ratePerSecond: 1,
      rateBurst: 40,
      principalRatePerSecond: 1,
      principalRateBurst: 40,
    })
    const api = new Api(hub)
    const [one, other] = [bearer(await tokenFor('one')), bearer(await tokenFor('other'))]
    await using agent = await joinAs(hub, 'one')
    for (let ref = 0; ref < 30; ref++) await agent.request({ type: 'leader' })
    const ask = async (headers: Record<string, string>): Promise<number> =>
      (await api.request('GET', '/agents', { headers })).status
    const untilOver = async (headers: Record<string, string>, status: number): Promise<number> => {
      let count = 0
      for (let last = await ask(headers); last !== 429; last = await ask(headers), count++)
        expect(last).toBe(status)
      return count
    }
    const taken = await untilOver(one, 200)
    expect(taken).toBeGreaterThan(5)
    expect(taken).toBeLessThan(30)
    expect(await ask(other)).toBe(200)
    expect(await untilOver(bearer('x'), 401)).toBeLessThan(60)
    expect(await api.refused('GET', '/agents')).toMatchObject({ code: 'rate_limited', retryable: true })
    // An EventSource would give up for good.
    const stream = await fetch(`${hub.httpUrl}/api/v1/events`, { headers: { accept: 'text/event-stream' } })
    expect([stream.status, await stream.text()]).toEqual([
      200,
      expect.stringMatching(/retry: \d+\n: rate_limited: /),
    ])
  })

  it('of members of spec-ai are told as it tells errors; heartbeats and acknowledgements do not count', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 2 })
    const post = async (path: string, body: object): Promise<Response> =>
      fetch(hub.httpUrl + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    const member = { instance_id: 'w', hostname: 'h', port: 1, capabilities: [], agent_profiles: [] }
    expect((await post('/registry/register', member)).status).toBe(200)
    for (let i = 0; i < 10; i++) {
      expect((await post('/registry/heartbeat/w', { status: 'ok' })).status).toBe(200)
      expect((await post('/messages/w/ack', { message_ids: [] })).status).toBe(204)
    }
    let refused = await fetch(`${hub.httpUrl}/registry/agents`)
    while (refused.status === 200) refused = await fetch(`${hub.httpUrl}/registry/agents`)
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([
      429,
      '1',
      { error: expect.any(String), code: 'rate_limited' },
    ])
  })

  it('of a page or a name that the hub does not serve are refused before they count', async () => {
    await using hub = await startTestHub('memory', { ratePerSecond: 1, rateBurst: 1 })
    const headers = { origin: 'https://evil.example' }
    for (let i = 0; i < 5; i++) expect((await fetch(`${hub.httpUrl}/nothing`, { headers })).status).toBe(403)
    expect((await fetch(`${hub.httpUrl}/nothing`)).status).toBe(404)
  })

  it('with a body larger than a message may be are answered 413', async () => {
    await using hub = await startApp({
      settings: { maxMessageBytes: 10_000 },
      extend: (app) => void app.post('/echo', (request) => ({ got: JSON.stringify(request.body).length })),
    })
    const post = async (length: number): Promise<number> =>
      (
        await fetch(`${hub.httpUrl}/echo`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify('x'.repeat(length)),
        })
      ).status
    expect([await post(9_900), await post(10_001)]).toEqual([200, 413])
  })
})

describe('a peer that takes its time', () => {
  const PATIENCE = { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 50 }

  it('with its headers is answered 408 and cut off, however often it sends a byte', async () => {
    await using hub = await startApp({ patience: PATIENCE })
    const { socket, ended } = dial(hub.port)
    const begun = Date.now()
    socket.write('GET /mesh HTTP/1.1\r\nHost: localhost\r\n')
    const drip = setInterval(() => socket.write('X: y\r\n'), 50)
    expect(statusOf(await ended)).toBe(408)
    clearInterval(drip)
    expect(Date.now() - begun).toBeLessThan(1_500)
  })

  it('with the headers of an upgrade as well', async () => {
    await using hub = await startApp({ patience: PATIENCE })
    const { socket, ended } = dial(hub.port)
    socket.write(`GET /mesh HTTP/1.1\r\nHost: localhost\r\n${UPGRADE}`)
    expect(statusOf(await ended)).toBe(408)
  })

  it('and says nothing at all is cut off', async () => {
    await using hub = await startApp({ patience: PATIENCE })
    await dial(hub.port).ended
  })

  it('with its headers by TLS is cut off as well', async () => {
    const { cert, key } = certificateIn(temporaryFolder(), 'one')
    await using hub = await startApp({ patience: PATIENCE, pair: { cert, key } })
    const socket = connectTls({ port: hub.port, host: '127.0.0.1', rejectUnauthorized: false })
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => undefined)
    socket.write('GET /mesh HTTP/1.1\r\nHost: localhost\r\n')
    const drip = setInterval(() => socket.write('X: y\r\n'), 50)
    onTestFinished(() => clearInterval(drip))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(statusOf(answer.toString())).toBe(408)
  })

  it('with its body is cut off', async () => {
    await using hub = await startApp({
      patience: PATIENCE,
      extend: (app) => void app.post('/echo', () => ({})),
    })
    const { socket, ended } = dial(hub.port)
    socket.write(
      'POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{',
    )
    expect(statusOf(await ended)).toBe(408)
  })

  it('is not the one whose upgrade is done: a connection lives on', async () => {
    await using hub = await startApp({ patience: PATIENCE })
    await using agent = await connectAgent(hub, { id: 'a1' })
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    await agent.roundTrip()
  })

  it(
    'has ten seconds for its headers and thirty for all, if nobody says otherwise',
    { timeout: 20_000 },
    async () => {
      await using hub = await startTestHub('memory')
      const { socket, ended } = dial(hub.port)
      const begun = Date.now()
      socket.write('GET /mesh HTTP/1.1\r\nHost: localhost\r\n')
      expect(statusOf(await ended)).toBe(408)
      expect(Date.now() - begun).toBeGreaterThanOrEqual(9_900)
      expect(Date.now() - begun).toBeLessThan(13_000)
    },
  )
})

describe('headers', () => {
  it('of more than 16 KiB together are answered 431, of a request and of an upgrade', async () => {
    await using hub = await startTestHub('memory')
    const { socket, ended } = dial(hub.port)
    socket.write(`GET /mesh HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(17_000)}\r\n\r\n`)
    expect(statusOf(await ended)).toBe(431)
    expect(statusOf(await upgrade(hub.port, `X: ${'y'.repeat(17_000)}\r\n`))).toBe(431)
    expect(statusOf(await upgrade(hub.port, `X: ${'y'.repeat(15_000)}\r\n`))).toBe(101)
  })
})

describe('a payload larger than the hub takes', () => {
  const big = 'x'.repeat(20_000)

  it('is refused in a send of any kind, and a larger message closes its connection alone', async () => {
    await using hub = await startTestHub('memory', { maxMessageBytes: 24_000 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const send = (more: object): object => ({ type: 'send', messageType: 'query', payload: big, ...more })
    for (const more of [
      { to: { agent: 'a1' } },
      { to: { all: true } },
      { to: { capability: 'nlp' } },
      { to: { agent: 'a1' }, durability: 'transient' },
    ])
      expect(await agent.refusal(send(more))).toMatchObject({ code: 'payload_too_large' })
    await using other = await openSocket(hub)
    other.raw('x'.repeat(24_001))
    expect(await other.closed).toMatchObject({ code: 1009 })
    await agent.roundTrip()
  })
})
