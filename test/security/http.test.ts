import { once } from 'node:events'
import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { HubServer } from '../../src/server.ts'
import { startApp } from '../support/app.ts'
import { sendRaw } from '../support/raw-http.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { startWatched, type WatchedHub } from '../support/watched.ts'

const HOST = 'Host: localhost\r\n'
const JSON_TYPE = 'Content-Type: application/json\r\n'
const START = `POST /registry/register HTTP/1.1\r\n${HOST}${JSON_TYPE}`
const member = (id: string, more = ''): string =>
  `{"instance_id":"${id}","hostname":"h","port":1,"capabilities":[],"agent_profiles":[]${more}}`
const posted = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
/** A whole request that must never be read as one of its own. */
const INNER = posted('/registry/register', member('smuggled'))
const get = (path: string, headers = HOST): string => `GET ${path} HTTP/1.1\r\n${headers}\r\n`

let watched: WatchedHub
let hub: HubServer
let client: MeshClient

beforeAll(async () => {
  watched = await startWatched()
  hub = watched.hub
  client = new MeshClient(hub)
})

afterEach(async () => {
  expect(await client.ids()).not.toContain('smuggled')
  expect(watched.faults).toEqual([])
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
})

afterAll(async () => {
  await hub.close()
})

describe('a request whose end two readers could see in different places', () => {
  it.each([
    ['length and chunks', `Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${INNER}`],
    ['chunks and length', `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${INNER}`],
    ['two lengths', `Content-Length: 0\r\nContent-Length: ${INNER.length}\r\n\r\n${INNER}`],
    ['two equal lengths', `Content-Length: 0\r\nContent-Length: 0\r\n\r\n${INNER}`],
    ['a list of lengths', `Content-Length: 0, 0\r\n\r\n${INNER}`],
    ['a length with a sign', `Content-Length: +0\r\n\r\n${INNER}`],
    ['a negative length', `Content-Length: -1\r\n\r\n${INNER}`],
    ['a length beyond 64 bits', `Content-Length: 99999999999999999999\r\n\r\n${INNER}`],
    ['the encoding identity', `Transfer-Encoding: identity\r\n\r\n${INNER}`],
    ['an unknown encoding', `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${INNER}`],
    ['chunks that are not last', `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${INNER}`],
    ['chunks twice', `Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${INNER}`],
    ['a space before the colon', `Content-Length : 0\r\n\r\n${INNER}`],
    ['a folded header', `Content-Length:\r\n 0\r\n\r\n${INNER}`],
    ['lines that end otherwise', `Content-Length: 0\n\n${INNER}`],
    ['half a line end', `X: a\rContent-Length: 0\r\n\r\n${INNER}`],
    ['a NUL in a header', `X: a\0b\r\nContent-Length: 0\r\n\r\n${INNER}`],
    ['a negative chunk', `Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n${INNER}`],
    ['a chunk beyond 64 bits', `Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n${INNER}`],
    [
      'a chunk with 20 KB of extension',
      `Transfer-Encoding: chunked\r\n\r\n0;${'x'.repeat(20_000)}\r\n\r\n${INNER}`,
    ],
  ])('is refused with its connection: %s', async (_what, rest) => {
    const { statuses, closed } = await sendRaw(hub, START + rest)
    expect(statuses[0]).toBeGreaterThanOrEqual(400)
    expect(statuses).not.toContain(200)
    expect(Math.max(...statuses)).toBeLessThan(500)
    expect(closed).toBe(true)
  })

  it('with chunks in HTTP/1.0 is refused as well', async () => {
    const start = START.replace('HTTP/1.1', 'HTTP/1.0')
    const { statuses, closed } = await sendRaw(
      hub,
      `${start}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${INNER}`,
    )
    expect([statuses, closed]).toEqual([[400], true])
  })
})

describe('headers', () => {
  it.each([
    ['Host', `${HOST}Host: evil.example\r\n`],
    ['the same Host', HOST + HOST],
    ['Origin', `${HOST}Origin: http://localhost\r\noRIGIN: http://evil.example\r\n`],
    ['Authorization', `${HOST}Authorization: Bearer a\r\nauthorization: Bearer b\r\n`],
  ])('that say twice who asks are refused, for a request and for an upgrade: %s', async (_what, headers) => {
    for (const path of ['/registry/agents', '/health', '/metrics'])
      expect((await sendRaw(hub, get(path, headers))).statuses, path).toEqual([400])
    const upgrade =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
    const { statuses, closed } = await sendRaw(hub, get('/mesh', headers + upgrade))
    expect([statuses, closed]).toEqual([[400], true])
  })

  it('of more than 16 KiB, or a URL of that length, are answered 431', async () => {
    for (const bytes of [
      get('/health', `${HOST}X: ${'x'.repeat(20_000)}\r\n`),
      get(`/${'x'.repeat(20_000)}`),
      get('/health', `${HOST}${'x'.repeat(20_000)}: 1\r\n`),
    ]) {
      const { statuses, closed } = await sendRaw(hub, bytes)
      expect([statuses, closed]).toEqual([[431], true])
    }
  })

  it('with names of objects are headers', async () => {
    const odd = '__proto__: polluted\r\nconstructor: x\r\nhasOwnProperty: y\r\ntoString: z\r\n'
    expect((await sendRaw(hub, get('/registry/agents', HOST + odd))).statuses).toEqual([200])
  })
})

describe('a compressed body', () => {
  it('is not decompressed, whatever is in it', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1_048_576, 0x20), { level: 9 })
    const before = process.memoryUsage().rss
    for (const [encoding, body] of [
      ['gzip', gzipSync(member('smuggled'))],
      ['gzip', bomb],
      ['deflate, gzip', bomb],
      ['br', bomb],
    ] as const) {
      const head = `${START}Content-Encoding: ${encoding}\r\nContent-Length: ${body.length}\r\n\r\n`
      const { statuses } = await sendRaw(hub, Buffer.concat([Buffer.from(head), body]))
      expect(statuses, encoding).toEqual([400])
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1_048_576)
  })
})

describe('pipelined requests', () => {
  it('are answered each, in their order', async () => {
    const requests = Array.from({ length: 100 }, (_, i) =>
      i % 3 === 0
        ? posted('/registry/register', member('piped'))
        : i % 3 === 1
          ? get('/nowhere')
          : posted('/registry/register', '{"instance_id":'),
    )
    const { statuses } = await sendRaw(hub, requests.join(''), 300)
    expect(statuses).toEqual(requests.map((_, i) => [200, 404, 400][i % 3]))
  })

  it('are worked on as the answers are read, and more than 128 that wait end their connection', async () => {
    const large = `GET /api/v1/openapi.json HTTP/1.1\r\n${HOST}\r\n`
    const before = process.memoryUsage().rss
    const sockets = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = connect(hub.port, '127.0.0.1')
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        socket.pause()
        socket.write(large.repeat(100))
        return socket
      }),
    )
    for (let i = 0; i < 20; i++) expect((await fetch(`${hub.httpUrl}/health`)).status).toBe(200)
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1_048_576)
    for (const socket of sockets) socket.destroy()
    const { closed, statuses } = await sendRaw(hub, get('/health').repeat(1_000), 2_000)
    expect(closed).toBe(true)
    expect(statuses.length).toBeLessThan(1_000)
  })

  it('behind the one that ended their connection are not looked at', async () => {
    let came = 0
    let lookedAt = 0
    await using one = await startApp({
      extend: (app) =>
        app.server.on('request', (request: object) => {
          came++
          // Fastify keeps what was asked for when it begins to look for a route.
          if ('originalUrl' in request) lookedAt++
        }),
    })
    const { closed } = await sendRaw(one, get('/health').repeat(1_500), 2_000)
    expect(closed).toBe(true)
    expect(came).toBeGreaterThan(1_000)
    expect(lookedAt).toBeLessThanOrEqual(130)
  })

  it('behind one that is no HTTP are not looked at', async () => {
    const { statuses, closed } = await sendRaw(hub, `${get('/health')}\u0000\r\n\r\n${INNER}`)
    // What it is itself answered with may come before the answers that are still being made.
    expect(statuses).toContain(400)
    expect(statuses.every((status) => status === 200 || status === 400)).toBe(true)
    expect(closed).toBe(true)
  })
})

describe('a path', () => {
  it.each([
    '//registry/agents',
    '/registry//agents',
    '/registry/./agents',
    '/registry/x/../agents',
    '/registry/%2e%2e/registry/agents',
    '/registry%2fagents',
    '/registry/agents/',
    '/registry/agents;x',
    '/registry/agents%00',
    '/registry/agents%20',
    '/Registry/Agents',
    '/registry\\agents',
    '/spec-ai',
    '/metrics/',
    '/./metrics',
    '/x/../metrics',
    '/METRICS',
    '/metrics;x',
    '/metrics%00',
    '/metrics%2f',
    '//metrics',
    '/messages/../metrics',
    '/registry/../metrics',
    '*',
    '/%',
    '/%zz',
    '/%ff%fe',
    '/messages/send/../../metrics',
    '/registry/heartbeat/x/../../../metrics',
  ])('leads where it says and nowhere else: %s', async (path) => {
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS', 'PUT']) {
      const { statuses, text } = await sendRaw(
        hub,
        `${method} ${path} HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: 0\r\n\r\n`,
      )
      expect(statuses.length, method).toBe(1)
      expect(statuses[0], method).toBeGreaterThanOrEqual(400)
      expect(statuses[0], method).toBeLessThan(500)
      expect(text).not.toMatch(/meshwire_|"instances"/)
    }
  })

  it('of an id is an id, whatever it looks like', async () => {
    for (const id of [
      '..%2f..%2fmetrics',
      '%2e%2e',
      '__proto__',
      'constructor',
      '%00',
      '%0d%0aX:y',
      '{x}',
      '*',
    ]) {
      const { statuses, text } = await sendRaw(hub, get(`/messages/${id}`))
      expect(statuses, id).toEqual([200])
      expect(text).toContain('{"messages":[]}')
      expect(text).not.toContain('\r\nX:y')
      expect(
        (await sendRaw(hub, `DELETE /registry/deregister/${id} HTTP/1.1\r\n${HOST}\r\n`)).statuses,
      ).toEqual([404])
    }
  })

  it('that names a host is for one of the hub’s own names', async () => {
    for (const path of ['/registry/agents', '/nowhere', '/mesh']) {
      expect((await sendRaw(hub, get(`http://evil.example${path}`))).statuses, path).toEqual([403])
      expect((await sendRaw(hub, get(`http://localhost@evil.example${path}`))).statuses, path).toEqual([403])
    }
    expect((await sendRaw(hub, get('http://localhost:7171/health'))).statuses).toEqual([200])
    expect(
      (await sendRaw(hub, get('http://localhost/registry/agents', 'Host: evil.example\r\n'))).statuses,
    ).toEqual([403])
  })

  it.each(['CONNECT localhost:80', 'TRACE /health', 'OPTIONS *', 'PRI *', 'GET health', 'BREW /health'])(
    'asked for otherwise than by GET and POST is refused: %s',
    async (line) => {
      const { statuses, text } = await sendRaw(hub, `${line} HTTP/1.1\r\n${HOST}X-Secret: s3cret\r\n\r\n`)
      for (const status of statuses) expect([400, 404, 405]).toContain(status)
      expect(text).not.toContain('s3cret')
    },
  )
})

describe('names of objects in bodies', () => {
  it('are fields like others, and pass through payloads as they are', async () => {
    const evil = ',"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}'
    await client.register('m1')
    expect((await client.request('POST', '/registry/register', member('m2', evil))).status).toBe(200)
    const beat =
      '{"status":"healthy","metrics":{"__proto__":1,"constructor":2,"load":0.5},"__proto__":{"status":1}}'
    expect((await client.request('POST', '/registry/heartbeat/m2', beat)).status).toBe(200)
    const payload = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toJSON":1}'
    const message = `{"target_instance":"m2","message_type":"Query","payload":${payload}${evil}}`
    expect((await client.request('POST', '/messages/send/m1', message)).status).toBe(200)
    expect((await client.request('GET', '/messages/m2')).text).toContain(`"payload":${payload}`)
    const without =
      '{"__proto__":{"instance_id":"smuggled","hostname":"h","port":1,"capabilities":[],"agent_profiles":[]}}'
    expect((await client.request('POST', '/registry/register', without)).status).toBe(422)
    expect(
      (await client.request('POST', '/messages/ack/m2', '{"__proto__":{"message_ids":[]}}')).status,
    ).toBe(422)
  })

  it('are ids like others', async () => {
    for (const id of ['__proto__', 'constructor', 'toString']) {
      await client.register(id)
      await client.send(id, id, { to: id })
      expect(await client.payloads(id)).toEqual([{ to: id }])
      expect((await client.deregister(id)).status).toBe(204)
    }
  })
})

describe('requests that never end', () => {
  it('keep nobody else waiting, and the hub not from closing', async () => {
    const { hub: slowed, faults } = await startWatched()
    const halves = [
      START,
      `${START}Content-Length: 1000\r\n\r\n{`,
      `${START}Transfer-Encoding: chunked\r\n\r\n5\r\n{`,
      'G',
      '',
    ]
    const sockets = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const socket = connect(slowed.port, '127.0.0.1')
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        socket.write(halves[i % halves.length] ?? '')
        return socket
      }),
    )
    const begun = Date.now()
    for (let i = 0; i < 20; i++) {
      for (const socket of sockets) socket.write('x')
      expect((await fetch(`${slowed.httpUrl}/health`)).status).toBe(200)
    }
    expect(Date.now() - begun).toBeLessThan(5_000)
    const closing = Date.now()
    await slowed.close()
    expect(Date.now() - closing).toBeLessThan(5_000)
    for (const socket of sockets) socket.destroy()
    expect(faults).toEqual([])
  })
})
