import fc from 'fast-check'
import { request } from 'node:http'
import { connect } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { Gate } from '../../src/http/gate.ts'
import { SECURITY_HEADERS } from '../../src/http/security-headers.ts'
import { openSocket } from '../support/agent.ts'
import { startTestHub } from '../support/hubs.ts'

const gate = new Gate({
  host: '10.0.0.5',
  allowedHosts: ['hub.example', 'fd00::1', '[FD00:0:0::2]'],
  allowedOrigins: ['https://app.example', 'http://Other.example:80', 'chrome-extension://abc'],
})

const status = (headers: { host?: string; origin?: string }, url = '/mesh'): number =>
  gate.refusal({ host: 'localhost', ...headers }, url)?.status ?? 200

describe('the gate', () => {
  it.each([
    ['localhost', 200],
    ['localhost:7171', 200],
    ['LOCALHOST:7171', 200],
    ['localhost.', 200],
    ['127.0.0.1:80', 200],
    ['[::1]:7171', 200],
    ['[::1]', 200],
    ['10.0.0.5:7171', 200],
    ['hub.example', 200],
    ['[fd00::1]:1', 200],
    ['[FD00:0::0:1]', 200],
    ['[fd00::2]', 200],
    ['[::1', 403],
    ['[::1::]', 403],
    ['[fd00::3]', 403],
    ['127.1', 403],
    ['evil.example', 403],
    ['localhost.evil.example', 403],
    ['evil-localhost', 403],
    ['127.0.0.1.evil.example:7171', 403],
    ['127.0.0.2', 403],
    ['localhost:evil', 403],
    ['localhost@evil.example', 403],
    ['localhost/x', 403],
    ['::1', 403],
    ['', 403],
  ])('Host %j: %i', (host, expected) => {
    expect(status({ host })).toBe(expected)
  })

  it('no Host: 403', () => {
    expect(gate.refusal({}, '/mesh')?.status).toBe(403)
  })

  it.each([
    ['http://localhost:3000', 200],
    ['https://127.0.0.1', 200],
    ['http://[::1]:8080', 200],
    ['https://hub.example', 200],
    ['http://10.0.0.5', 200],
    ['https://app.example', 200],
    ['https://APP.example:443', 200],
    ['http://other.example', 200],
    ['chrome-extension://abc', 200],
    ['http://app.example', 403],
    ['https://app.example:8443', 403],
    ['https://app.example.evil.example', 403],
    ['https://sub.app.example', 403],
    ['https://evil.example', 403],
    ['http://localhost.evil.example', 403],
    ['http://localhost@evil.example', 403],
    ['null', 403],
    ['', 403],
    ['file://', 403],
    ['file://localhost', 403],
    ['chrome-extension://other', 403],
    ['https://app.example https://evil.example', 403],
  ])('Origin %j: %i', (origin, expected) => {
    expect(status({ origin })).toBe(expected)
  })

  it.each([
    ['/mesh?token=x', 400],
    ['/mesh?a=1&access_token=x', 400],
    ['/mesh?Access_Token=x', 400],
    ['/mesh?acc%65ss_token=x', 400],
    ['/mesh?jwt=x', 400],
    ['/mesh?token', 400],
    ['/mesh?a=token', 200],
    ['/token?a=1', 200],
    ['/mesh', 200],
  ])('%j: %i', (url, expected) => {
    expect(status({}, url)).toBe(expected)
  })

  it('lets nobody in by a name that only contains one of its own', () => {
    const names = fc.constantFrom('localhost', '127.0.0.1', 'hub.example', 'app.example')
    const label = fc.stringMatching(/^[a-z0-9-]{1,8}$/)
    fc.assert(
      fc.property(names, label, (name, other) => {
        for (const host of [`${name}.${other}`, `${other}.${name}`, `${other}${name}`, `${name}${other}`]) {
          expect(status({ host }), host).toBe(403)
          expect(status({ origin: `https://${host}` }), host).toBe(403)
        }
      }),
    )
  })

  it('takes no longer for what was made to make it slow', () => {
    const before = performance.now()
    for (const filler of ['?', '&', 'token', '[', ':', '.', '%'])
      for (let i = 0; i < 20; i++) {
        const long = filler.repeat(16_000)
        status({ host: long, origin: `http://${long}` }, `/mesh?${long}`)
      }
    expect(performance.now() - before).toBeLessThan(2_000)
  })
})

/** An answer over a plain socket, so that every header is the test's own. */
async function ask(
  url: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<{
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, url.replace('ws:', 'http:')), { method, headers }, (response) => {
      textOf(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      )
    })
    asked.on('error', reject)
    asked.end()
  })
}

const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

describe('a hub and pages', () => {
  it.each([
    ['an Origin of somebody else', '/mesh', { origin: 'https://evil.example' }, 403, '--allowed-origins'],
    ['an Origin without a name', '/mesh', { origin: 'null' }, 403, '--allowed-origins'],
    ['a Host that was rebound', '/mesh', { host: 'evil.example:7171' }, 403, '--allowed-hosts'],
    ['a token in the URL', '/mesh?token=secret', {}, 400, 'Authorization: Bearer'],
  ])('refuse an upgrade with %s, and say what to do', async (_, path, headers, expected, remedy) => {
    await using hub = await startTestHub('memory')
    const { status: got, body, headers: answered } = await ask(hub.url, path, { ...UPGRADE, ...headers })
    expect([got, body]).toEqual([expected, expect.stringContaining(remedy)])
    expect(body).not.toContain('secret')
    expect(answered).toMatchObject(SECURITY_HEADERS)
  })

  it('let in whoever sends no Origin, a page of their own name, and pages that are listed', async () => {
    await using hub = await startTestHub('memory', { allowedOrigins: ['https://app.example'] })
    const origins = [undefined, 'http://localhost:3000', 'https://app.example']
    for (const origin of origins) {
      await using socket = await openSocket(hub, origin === undefined ? {} : { headers: { origin } })
      expect((await socket.hello({})).agent).toBe(null)
    }
    await expect(openSocket(hub, { headers: { origin: 'https://other.example' } })).rejects.toThrow('403')
  })

  it('are known by further names where these are configured', async () => {
    await using hub = await startTestHub('memory', { allowedHosts: ['mesh.internal'] })
    await using _socket = await openSocket(hub, { headers: { host: 'mesh.internal:7171' } })
    await expect(openSocket(hub, { headers: { host: 'other.internal' } })).rejects.toThrow('403')
  })

  it('answer over HTTP with security headers, whatever the answer', async () => {
    await using hub = await startTestHub('memory')
    for (const path of ['/health', '/ready', '/nowhere', '/%zz', '/health?token=x'])
      expect((await ask(hub.url, path)).headers, path).toMatchObject(SECURITY_HEADERS)
    expect((await ask(hub.url, '/%zz')).status).toBe(400)
    expect((await ask(hub.url, '/health?access_token=x')).status).toBe(400)
    expect((await ask(hub.url, '/health', { upgrade: 'h2c', connection: 'upgrade' })).headers).toMatchObject(
      SECURITY_HEADERS,
    )
  })

  it.each([
    ['GET', '/registry/agents'],
    ['POST', '/registry/register'],
    ['POST', '/registry/heartbeat/a'],
    ['DELETE', '/registry/deregister/a'],
    ['GET', '/messages/a'],
    ['POST', '/messages/a/ack'],
    ['POST', '/messages/send/a'],
    ['GET', '/api/v1/agents'],
    ['GET', '/health'],
    ['GET', '/metrics'],
    ['GET', '/nowhere'],
  ])('refuse a token in the URL at every door: %s %s', async (method, path) => {
    await using hub = await startTestHub('memory')
    const { status: got, body } = await ask(hub.url, `${path}?token=secret`, {}, method)
    expect([got, body]).toEqual([400, expect.stringContaining('A token does not belong into a URL')])
  })

  it('refuse HTTP by a foreign Origin or Host, but tell a load balancer that asks by address how they are', async () => {
    await using hub = await startTestHub('memory')
    const statusOf = async (path: string, headers: Record<string, string>, method = 'GET') =>
      (await ask(hub.url, path, headers, method)).status
    expect(await statusOf('/health', { host: '10.1.2.3:7171' })).toBe(200)
    expect(await statusOf('/ready', { host: '10.1.2.3:7171' })).toBe(200)
    expect(await statusOf('/nowhere', { host: '10.1.2.3:7171' })).toBe(403)
    for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE'])
      expect(await statusOf('/nowhere', { origin: 'https://evil.example' }, method)).toBe(403)
    expect(await statusOf('/health', { origin: 'https://evil.example' })).toBe(403)
    expect(await statusOf('/health', { origin: 'http://localhost:3000' })).toBe(200)
  })

  it('send CORS headers to origins that are listed, and to no others', async () => {
    await using hub = await startTestHub('memory', { allowedOrigins: ['https://app.example'] })
    const listed = { origin: 'https://app.example' }
    expect((await ask(hub.url, '/health', listed)).headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      vary: 'Origin',
    })
    const preflight = { ...listed, 'access-control-request-method': 'POST' }
    const { status: got, headers } = await ask(hub.url, '/health', preflight, 'OPTIONS')
    expect([got, headers]).toEqual([
      204,
      expect.objectContaining({
        'access-control-allow-headers': 'authorization, content-type, last-event-id, traceparent',
      }),
    ])
    expect(headers).not.toHaveProperty('access-control-allow-credentials')
    for (const origin of ['http://localhost:3000', 'https://other.example', 'null']) {
      const answered = await ask(
        hub.url,
        '/health',
        { origin, 'access-control-request-method': 'POST' },
        'OPTIONS',
      )
      expect(Object.keys(answered.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })

  it('answer a request without Host, and one of an older HTTP, with an error', async () => {
    await using hub = await startTestHub('memory')
    for (const head of ['GET /mesh HTTP/1.0', 'GET /mesh HTTP/1.1']) {
      const socket = connect(hub.port, '127.0.0.1')
      socket.end(`${head}\r\nConnection: close\r\n\r\n`)
      expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 40[03]/)
    }
  })
})
