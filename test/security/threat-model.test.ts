// Cases are run by testLines, each in a test of its own.
/* oxlint-disable vitest/no-standalone-expect */
import { createHmac } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect } from 'vitest'
import { compilePattern } from '../../src/auth/pattern.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { SECURITY_HEADERS } from '../../src/http/security-headers.ts'
import type { HubServer } from '../../src/server.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { bearer, fileOfTest, joinAs, withSecret } from '../support/authentication.ts'
import { startApp } from '../support/app.ts'
import { startHurriedHub, startTestHub } from '../support/hubs.ts'
import { redisOfFile } from '../support/redis-of-file.ts'
import { MxpSocket } from '../support/mxp-agent.ts'
import { MxpUdp } from '../support/mxp-udp.ts'
import { sendRaw } from '../support/raw-http.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { sendFrame } from '../support/talk.ts'
import { keyPair, pemOf, SECRET, tokenFor } from '../support/tokens.ts'
import { startWatched } from '../support/watched.ts'
import { testLines } from './model.ts'
import { allBut, frameOutcome, outcomesOf, statusOf, type Trier } from './outcomes.ts'

let hub: HubServer

beforeAll(async () => {
  hub = await startTestHub('memory', await secretSettings())
  await joinAs(hub, 'target', {}, { capabilities: ['nlp'] })
})

afterAll(async () => {
  await hub.close()
})

/** As `withSecret`, for all tests of this file. */
async function secretSettings(): Promise<object> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-security-'))
  afterAll(() => rm(directory, { recursive: true }))
  const jwtSecretFile = join(directory, 'secret')
  await writeFile(jwtSecretFile, SECRET)
  return { jwtSecretFile }
}

const DISCOVER = { type: 'discover' }
const TO_TARGET = sendFrame('target', 1)
/** Of `send` everything but to an agent by its id. */
const OTHER_SENDS = ['send:name=*', 'send:capability=*', 'send:role=*', 'send:somebody']

const frame =
  (one: object, agent: object | null = {}) =>
  (trier: Trier) =>
    frameOutcome(hub, trier, agent, one)
const hello = (agent: object | null) => (trier: Trier) => frameOutcome(hub, trier, agent, null)

testLines('W', {
  W1: () => outcomesOf(hello(null), { mesh: allBut(['discover', 'watch']) }),
  W2: () => outcomesOf(hello({}), { mesh: allBut(['register']) }),
  W3: () => outcomesOf(hello({ id: 'target' }), { mesh: allBut(['register']) }),
  W4: () => outcomesOf(hello({ capabilities: ['nlp'] }), { mesh: allBut(['serve'], ['serve:asking']) }),
  W5: () => outcomesOf(frame(TO_TARGET), { mesh: allBut(['send'], OTHER_SENDS) }),
  W6: () =>
    outcomesOf(frame(sendFrame({ capability: 'nlp' }, 1)), {
      mesh: allBut(['send'], ['send:agent=*', 'send:capability=other']),
    }),
  W7: () =>
    outcomesOf(frame(sendFrame({ all: true }, 1)), {
      mesh: allBut(['broadcast'], ['broadcast:group=*', 'broadcast:capability=*']),
    }),
  W8: () => outcomesOf(frame(DISCOVER), { mesh: allBut(['discover']) }),
  W9: () => outcomesOf(frame({ type: 'subscribe' }), { mesh: allBut(['watch']) }),
  W10: () => outcomesOf(frame({ type: 'update', leaderEligible: true }), { mesh: allBut(['lead']) }),
  W11: () => outcomesOf(frame({ type: 'dead-letters.list', payload: true }), { mesh: allBut(['admin']) }),
  W12: () => outcomesOf(hello({}), { ns: ['other', 'defaul'] }),
  W13: () =>
    outcomesOf(frame({ type: 'stream.open', stream: 's1', to: { agent: 'target' } }), {
      mesh: allBut(['send'], OTHER_SENDS),
    }),
})

/** What a message at the gateway is answered with: its type, or the code of the Error; the code of the close where it was no more than that. */
const ask =
  (type: 'AgentRegister' | 'AgentDiscover' | 'Call', payload: object) =>
  async ({ sub, headers }: Trier): Promise<string> => {
    await using socket = await MxpSocket.open(hub, ['mxp.v1'], headers ?? {})
    const registered = socket
      .ask('AgentRegister', { id: sub, name: sub, capabilities: ['asking'] })
      .catch(() => null)
    if (!headers) return String((await socket.closed).code)
    const first = await registered
    const answer =
      type === 'AgentRegister' || first?.type === 'Error'
        ? first
        : await socket.ask(type, payload, { flags: 4 })
    return answer?.type === 'Error' ? String(answer.body.code) : (answer?.type ?? '')
  }

testLines('G', {
  G1: () => outcomesOf(ask('AgentRegister', {}), { mesh: allBut(['register']) }),
  G2: () =>
    outcomesOf(ask('Call', { to: { agent: 'target' }, payload: 1 }), { mesh: allBut(['send'], OTHER_SENDS) }),
  G3: () => outcomesOf(ask('AgentDiscover', { capability: 'nlp' }), { mesh: allBut(['discover']) }),
})

const call = (method: string, path: string, body?: unknown) => (trier: Trier) =>
  statusOf(hub, trier, method, path, body)
const MESSAGE = { to: { agent: 'target' }, messageType: 'x', payload: 1 }

testLines('A', {
  A1: () => outcomesOf(call('GET', '/api/v1/agents'), { mesh: allBut(['discover']) }),
  A2: () => outcomesOf(call('POST', '/api/v1/messages', MESSAGE), { mesh: allBut(['send'], OTHER_SENDS) }),
  A3: async () => {
    const asSomebody = (trier: Trier) =>
      statusOf(hub, trier, 'POST', '/api/v1/messages', { ...MESSAGE, from: `${trier.sub}:1` })
    const others = await outcomesOf(call('POST', '/api/v1/messages', { ...MESSAGE, from: 'free' }), {
      mesh: allBut(['register']),
    })
    expect(others).toEqual(['401', '403', '403'])
    return outcomesOf(asSomebody, { mesh: allBut(['register']) })
  },
  A4: async () => {
    await using _leaver = await joinAs(hub, 'leaver')
    return outcomesOf(call('DELETE', '/api/v1/agents/leaver'), { mesh: allBut(['admin']) })
  },
  A5: () => outcomesOf(call('GET', '/api/v1/dead-letters?payload=true'), { mesh: allBut(['admin']) }),
  A6: () => outcomesOf(call('GET', '/api/v1/agents/target/inbox'), { mesh: allBut(['admin']) }),
  A7: () => outcomesOf(call('GET', '/api/v1/events'), { mesh: allBut(['watch']) }),
  A8: async () => {
    expect(await outcomesOf(call('GET', '/api/v1/hubs'), { mesh: '*', ns: 'default' }, { ns: '*' })).toEqual([
      '401',
      '403',
      '200',
    ])
    return outcomesOf(call('GET', '/api/v1/namespaces'), { mesh: allBut(['admin']), ns: '*' }, { ns: '*' })
  },
  A9: () => outcomesOf(call('GET', '/api/v1/openapi.json'), { mesh: [] }),
})

testLines('O', {
  O1: () => outcomesOf(call('GET', '/health'), { mesh: [] }),
  O2: () => outcomesOf(call('GET', '/ready'), { mesh: [] }),
})

const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
const handshake = async (headers: string, path = '/mesh'): Promise<string> =>
  String((await sendRaw(hub, `GET ${path} HTTP/1.1\r\n${headers}${UPGRADE}\r\n`)).statuses[0])
const HOST = 'Host: localhost\r\n'
const POST = `POST /registry/register HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`
const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"bot","exp":9999999999}').toString('base64url')}.`

testLines('D', {
  async D1() {
    expect(() => parseSettings({ host: '0.0.0.0' })).toThrow('--insecure-open')
    return ['--insecure-open']
  },
  D2: async () => ['Origin', await handshake(`${HOST}Origin: https://evil.example\r\n`)],
  D3: async () => ['Host', await handshake('Host: evil.example\r\n')],
  D4: async () => [await handshake(HOST, '/mesh?token=x')],
  async D5() {
    expect(await handshake(`${HOST}Authorization: Bearer ${unsigned}\r\n`)).toBe('401')
    const pem = await pemOf(await keyPair('RS256'))
    await using keyed = await startTestHub('memory', { jwtKeyFile: await fileOfTest('key.pem', pem) })
    const [, claims = ''] = unsigned.split('.')
    const input = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${claims}`
    const forged = `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`
    const bytes = `GET /mesh HTTP/1.1\r\n${HOST}Authorization: Bearer ${forged}\r\n${UPGRADE}\r\n`
    return ['alg', String((await sendRaw(keyed, bytes)).statuses[0])]
  },
  async D6() {
    const token = 'a-token-of-this-file'
    const tokensFile = await fileOfTest(
      'tokens.json',
      JSON.stringify([{ token, sub: 'bot', permissions: ['*'] }]),
    )
    await using listed = await startTestHub('memory', { tokensFile })
    await using agent = await connectAgent(listed, { headers: bearer(token) })
    await writeFile(tokensFile, '[]')
    return [String((await agent.closed).code)]
  },
  async D7() {
    const statuses: (number | undefined)[] = []
    for (const headers of [
      'Content-Length: 0\r\nContent-Length: 1\r\n',
      'Content-Length: 0\r\nTransfer-Encoding: chunked\r\n',
      HOST,
      'Origin: http://localhost\r\nOrigin: http://localhost\r\n',
      'Authorization: Bearer a\r\nAuthorization: Bearer a\r\n',
    ])
      statuses.push((await sendRaw(hub, `${POST}${headers}\r\n`)).statuses[0])
    expect(statuses).toEqual([400, 400, 400, 400, 400])
    return ['Host', 'Origin', 'Authorization', '400']
  },
  async D8() {
    const { hub: open } = await startWatched()
    await using _open = open
    const body = gzipSync('{}')
    const head = `${POST}Content-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`
    const offered = `GET /mesh HTTP/1.1\r\n${HOST}${UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`
    expect((await sendRaw(open, offered)).text).not.toMatch(/permessage-deflate/i)
    return [String((await sendRaw(open, Buffer.concat([Buffer.from(head), body]))).statuses[0])]
  },
  async D9() {
    const { hub: open } = await startWatched()
    await using _open = open
    const large = await new MeshClient(open).request(
      'POST',
      '/registry/register',
      ' '.repeat(2 * 1_048_576 + 1),
    )
    const long = await sendRaw(open, `GET /health HTTP/1.1\r\n${HOST}X: ${'x'.repeat(17_000)}\r\n\r\n`)
    await using socket = await openSocket(open)
    socket.raw(' '.repeat(1_048_577))
    return [large.status, long.statuses[0], 'maxMessageBytes', (await socket.closed).code].map(String)
  },
  async D10() {
    await using agent = await joinAs(hub, '__proto__', {}, { metadata: { constructor: 'x' } })
    agent.raw(
      '{"type":"send","ref":1,"to":{"agent":"__proto__"},"messageType":"x","payload":{"__proto__":{"polluted":1}}}',
    )
    expect(JSON.stringify((await agent.next('message')).payload)).toBe('{"__proto__":{"polluted":1}}')
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    return ['__proto__']
  },
  async D11() {
    expect(compilePattern('(a+)+')('aaa')).toBe(false)
    await using observer = await openSocket(hub, { headers: bearer(await tokenFor('ranges')) })
    await observer.hello()
    for (const version of [Array(17).fill('1').join('||'), '1'.repeat(257)])
      expect(await observer.refusal({ type: 'discover', where: { version } })).toMatchObject({
        code: 'bad_frame',
      })
  },
  async D12() {
    await using observer = await openSocket(hub, { headers: bearer(await tokenFor('watcher')) })
    await observer.hello()
    for (let i = 0; i < 100; i++) await observer.request({ type: 'subscribe' })
    expect(await observer.refusal({ type: 'subscribe' })).toMatchObject({ code: 'bad_frame' })
    await using slow = await startTestHub('memory', { ratePerSecond: 10, rateBurst: 1 })
    await using sender = await connectAgent(slow, { id: 'sender' })
    const begun = Date.now()
    for (let i = 0; i < 5; i++) sender.send({ type: 'leader', ref: i })
    for (let ref = 0; ref < 5; ref++) expect(await sender.next('ok')).toMatchObject({ ref })
    expect(Date.now() - begun).toBeGreaterThanOrEqual(380)
    await using open = await startTestHub('memory')
    await using streaming = await connectAgent(open, { id: 'streaming' })
    await using _reading = await connectAgent(open, { id: 'reading' })
    const opening = (i: number) => ({ type: 'stream.open', stream: `s${i}`, to: { agent: 'reading' } })
    for (let i = 0; i < 1_000; i++) await streaming.request(opening(i))
    expect(await streaming.refusal(opening(1_000))).toMatchObject({ code: 'bad_frame' })
  },
  async D13() {
    await using neighbour = await joinAs(hub, 'neighbour')
    await sendRaw(hub, Buffer.from([0, 1, 2, 255, 13, 10, 13, 10]))
    await using socket = await openSocket(hub)
    socket.raw('no frame')
    expect((await socket.closed).code).toBe(4400)
    await neighbour.roundTrip()
  },
  async D14() {
    const { hub: open } = await startWatched()
    await using _open = open
    const client = new MeshClient(open)
    await client.register('member')
    await using agent = await connectAgent(open, { id: 'a1' })
    await agent.request(sendFrame('member', ['\ud800']))
    const deep = `${'['.repeat(125)}${']'.repeat(125)}`
    agent.raw(`{"type":"send","ref":9,"to":{"agent":"member"},"messageType":"x","payload":${deep}}`)
    await agent.next('ok', ({ ref }) => ref === 9)
    expect(await client.payloads('member')).toEqual([['\ufffd'], deep])
  },
  async D15() {
    for (const path of ['/health', '/nowhere', '/registry/agents', '/api/v1/agents']) {
      const { headers } = await fetch(hub.httpUrl + path, { headers: { origin: 'http://localhost' } })
      expect(Object.fromEntries(headers)).toMatchObject(SECURITY_HEADERS)
      expect(headers.has('access-control-allow-origin')).toBe(false)
    }
  },
  async D16() {
    // The times themselves are in test/http/limits.test.ts.
    await using app = await startApp({ patience: { headersTimeout: 100, connectionsCheckingInterval: 50 } })
    const { statuses, closed } = await sendRaw(app, 'GET /health HTTP/1.1\r\nHost: loc', 500)
    expect(closed).toBe(true)
    await using hurried = await startHurriedHub(50)
    await using silent = await openSocket(hurried)
    return [String(statuses[0]), 'hello', String((await silent.closed).code)]
  },
  async D17() {
    await using limited = await startTestHub('memory', {
      ratePerSecond: 1,
      rateBurst: 1,
      addressHandshakesPerSecond: 1,
      namespaceAgentsMax: 1,
    })
    const statuses = [1, 2, 3].map(async () => (await fetch(`${limited.httpUrl}/registry/agents`)).status)
    expect(await Promise.all(statuses)).toContain(429)
    await using closed = await startTestHub('memory', {
      ...(await withSecret()),
      ratePerSecond: 1,
      rateBurst: 1,
    })
    const knock = async () =>
      (await fetch(`${closed.httpUrl}/registry/agents`, { headers: bearer('bad') })).status
    expect([await knock(), await knock()]).toEqual([401, 429])
    await using first = await connectAgent(limited, { id: 'first' })
    await using second = await openSocket(limited)
    const agent = { id: 'second', name: 'second', capabilities: ['nlp'] }
    const refusal = await second.refusal({ type: 'hello', protocol: 1, agent })
    expect(refusal.code).toBe('quota_exceeded')
    await first.roundTrip()
    await using narrow = await startTestHub('memory', { namespaceInboxBytesMax: 1_000 })
    await using filling = await connectAgent(narrow, { id: 'filling' })
    const large = sendFrame('filling', 'x'.repeat(1_000))
    expect(await filling.refusal(large)).toMatchObject({ code: 'quota_exceeded' })
    await using shared = await startTestHub('memory', {
      ...(await withSecret()),
      principalRatePerSecond: 1,
      principalRateBurst: 3,
    })
    await using _busy = await joinAs(shared, 'busy')
    const headers = bearer(await tokenFor('busy'))
    const own = [1, 2, 3].map(
      async () => (await fetch(`${shared.httpUrl}/registry/agents`, { headers })).status,
    )
    expect(await Promise.all(own)).toContain(429)
    const sockets = Array.from({ length: 20 }, () => openSocket(limited).then((socket) => socket.cut()))
    const refused = (await Promise.allSettled(sockets)).filter((one) => one.status === 'rejected')
    expect(refused.map(({ reason }) => String(reason)).join()).toContain('429')
    return ['429']
  },
  async D18() {
    const path = (name: string) => fileURLToPath(new URL(`../support/certificates/${name}`, import.meta.url))
    await using secured = await startTestHub('memory', { tlsCert: path('one.crt'), tlsKey: path('one.key') })
    expect(secured.url).toMatch(/^wss:/)
    // Who speaks plainly to it is not answered by it.
    const { statuses } = await sendRaw(secured, `GET /registry/agents HTTP/1.1\r\n${HOST}\r\n`)
    expect(statuses).not.toContain(200)
  },
  async D19() {
    // That they wait as text is in test/hub/rate.test.ts.
    await using open = await startTestHub('memory')
    await using flooding = await connectAgent(open, { id: 'flooding' })
    await using other = await connectAgent(open, { id: 'other' })
    const credit = JSON.stringify({ type: 'stream.credit', stream: 's', credit: 1 })
    const [begin, end] = ['begin', 'end'].map((ref) => JSON.stringify({ type: 'leader', ref }))
    flooding.raw([begin, ...Array<string>(20_000).fill(credit), end].join('\n'))
    await flooding.next('ok', ({ ref }) => ref === 'begin')
    await other.roundTrip()
    expect(flooding.waiting).toEqual([])
    await using slow = await startTestHub('memory', { ratePerSecond: 10, rateBurst: 1 })
    await using wrong = await connectAgent(slow, { id: 'wrong' })
    const begun = Date.now()
    for (let i = 0; i < 5; i++) wrong.send({ type: 'ack', ids: i })
    for (let i = 0; i < 5; i++) await wrong.next('error')
    expect(Date.now() - begun).toBeGreaterThanOrEqual(380)
  },
  async D20() {
    await using asking = await startTestHub('memory', {
      ...(await withSecret()),
      ratePerSecond: 1,
      rateBurst: 2,
    })
    const statuses: number[] = []
    for (let i = 0; i < 4; i++)
      statuses.push((await fetch(`${asking.httpUrl}/registry/agents`, { headers: bearer('guess') })).status)
    expect(statuses.slice(0, 2)).toEqual([401, 401])
    return [String(statuses.at(-1))]
  },
  async D21() {
    const { hub: open } = await startWatched()
    await using _open = open
    const one = `GET /health HTTP/1.1\r\n${HOST}\r\n`
    expect((await sendRaw(open, one.repeat(100))).statuses).toEqual(Array(100).fill(200))
    const { closed, statuses } = await sendRaw(open, one.repeat(1_000), 2_000)
    expect(closed).toBe(true)
    expect(statuses.length).toBeLessThan(1_000)
  },
})

testLines('N', {
  async N1() {
    const { url } = await redisOfFile()
    await using stored = await startTestHub('redis', {
      ...(await withSecret()),
      redisUrl: url,
      keyPrefix: 'model',
    })
    await using sender = await joinAs(stored, 'sender')
    await joinAs(stored, 'receiver')
    await sender.request(sendFrame('receiver', 'a payload as it is'))
    const redis = new Redis(url)
    const texts: string[] = []
    for (const key of await redis.keys('model*'))
      if ((await redis.type(key)) === 'stream') texts.push(JSON.stringify(await redis.xrange(key, '-', '+')))
    redis.disconnect()
    expect(texts.join('')).toContain('a payload as it is')
  },
  async N2() {
    await using agent = await joinAs(hub, 'plain')
    await agent.request(sendFrame('plain', 'a payload as it is'))
    expect((await agent.next('message')).payload).toBe('a payload as it is')
  },
  async N3() {
    const { hub: open } = await startWatched()
    await using _open = open
    const register = async (address: string) => {
      await using udp = await MxpUdp.open(open)
      return await udp.ask('AgentRegister', { id: 'one', name: 'one', capabilities: [], address })
    }
    expect([(await register('192.0.2.1:1')).success, (await register('192.0.2.2:1')).success]).toEqual([
      true,
      true,
    ])
  },
  async N4() {
    await using open = await startTestHub('memory')
    await using anybody = await connectAgent(open, { id: 'anybody' })
    await anybody.request({ type: 'dead-letters.purge', where: {} })
  },
  async N5() {
    await using joiner = await joinAs(hub, 'joiner', { mesh: ['register', 'serve'] }, { groups: ['board'] })
    await using sender = await joinAs(hub, 'chair')
    await sender.request(sendFrame({ group: 'board' }, 'minutes'))
    expect((await joiner.next('message')).payload).toBe('minutes')
  },
  async N6() {
    await using receiver = await joinAs(hub, 'receiver')
    await receiver.request(sendFrame('receiver', 'for it alone'))
    receiver.send({ type: 'nack', id: (await receiver.next('message')).id, requeue: false })
    await receiver.roundTrip()
    const headers = bearer(await tokenFor('operator', { mesh: ['admin'] }))
    await expect
      .poll(async () => (await fetch(`${hub.httpUrl}/api/v1/dead-letters?payload=true`, { headers })).text())
      .toContain('for it alone')
    return ['admin']
  },
  async N7() {
    const token = await tokenFor('again')
    for (let i = 0; i < 2; i++) await (await connectAgent(hub, { headers: bearer(token) })).cut()
  },
  async N8() {
    const health = (await (await fetch(`${hub.httpUrl}/health`)).json()) as object
    expect(health).toHaveProperty('version')
    expect(health).toHaveProperty('active_sessions')
    return ['/health']
  },
  async N9() {
    const { text } = await sendRaw(hub, `GET /health HTTP/1.1\r\n${HOST}\r\n`)
    expect(text).toContain('"status":"healthy"')
    return ['--tls-cert']
  },
})
