import { describe, expect, it } from 'vitest'
import { SECURITY_HEADERS } from '../../src/http/security-headers.ts'
import type { Settings } from '../../src/config.ts'
import { bearer, withSecret } from '../support/authentication.ts'
import { startTestHub } from '../support/hubs.ts'
import { sendRaw } from '../support/raw-http.ts'
import { keyPair, signed, tokenFor } from '../support/tokens.ts'

const HOST = 'Host: 127.0.0.1\r\n'
const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const VERSION = 'Sec-WebSocket-Version: 13\r\n'
const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'

interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The first answer in what came. */
function headOf(text: string): Head {
  const end = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const headers = lines.map((line) => /^([^:]+): *(.*)$/.exec(line)?.slice(1) as [string, string])
  return {
    status: Number(first.split(' ')[1]),
    headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
    body: text.slice(end + 4),
  }
}

/** The answer of a hub of its own to one request. */
async function answerTo(request: string, settings: Partial<Settings> = {}): Promise<Head> {
  await using hub = await startTestHub('memory', settings)
  return headOf((await sendRaw(hub, request)).text)
}

describe('the headers of security', () => {
  it.each([
    ['what is no HTTP', 'what is this\r\n\r\n', 400],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['headers over the limit', `GET /health HTTP/1.1\r\n${HOST}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['no Host', 'GET /registry/agents HTTP/1.1\r\n\r\n', 400],
    ['no Host, where any counts', 'GET /health HTTP/1.1\r\n\r\n', 400],
    ['an expectation', `GET /health HTTP/1.1\r\n${HOST}Expect: wonders\r\n\r\n`, 417],
    ['an upgrade', `GET /mesh HTTP/1.1\r\n${HOST}${UPGRADE}${KEY}${VERSION}\r\n`, 101],
    ['an upgrade without a key', `GET /mesh HTTP/1.1\r\n${HOST}${UPGRADE}${VERSION}\r\n`, 400],
    ['an upgrade by POST', `POST /mesh HTTP/1.1\r\n${HOST}${UPGRADE}${KEY}${VERSION}\r\n`, 405],
    [
      'an upgrade to another version',
      `GET /mesh HTTP/1.1\r\n${HOST}${UPGRADE}${KEY}Sec-WebSocket-Version: 12\r\n\r\n`,
      426,
    ],
    ['a page over spec-ai’s API', `GET /registry/agents HTTP/1.1\r\n${HOST}\r\n`, 200],
  ])('are on the answer to %s', async (_, request, status) => {
    const answer = await answerTo(request)
    expect(answer.status).toBe(status)
    expect(answer.headers).toMatchObject(SECURITY_HEADERS)
  })

  it('keep pages of other sites from embedding what is answered', () => {
    expect(SECURITY_HEADERS).toMatchObject({ 'cross-origin-resource-policy': 'same-origin' })
  })

  it('say that answers differ by Origin wherever one is listed', async () => {
    const request = `GET /health HTTP/1.1\r\n${HOST}\r\n`
    const listed = await answerTo(request, { allowedOrigins: ['https://app.example'] })
    expect(listed.headers).toMatchObject({ vary: 'Origin' })
    expect((await answerTo(request)).headers).not.toHaveProperty('vary')
  })
})

describe('a token in a URL', () => {
  it.each([
    '/registry/agents',
    '/messages/a1',
    '/messages/a1/ack',
    '/api/v1/agents',
    '/api/v1/events',
    '/metrics',
    '/health',
    '/ready',
    '/mesh',
    '/nowhere',
    'http://127.0.0.1/registry/agents',
  ])('is refused at %s', async (path) => {
    const answer = await answerTo(`GET ${path}?a=1&Token=secret HTTP/1.1\r\n${HOST}\r\n`)
    expect(answer.status).toBe(400)
    expect(answer.body).toContain('does not belong into a URL')
    expect(answer.body).not.toContain('secret')
  })
})

describe('a request whose target is a whole URL', () => {
  it.each(['/health', '/registry/agents', '/api/v1/agents', '/messages/a1'])('is for %s', async (path) => {
    const by = (url: string) => answerTo(`GET ${url} HTTP/1.1\r\n${HOST}\r\n`)
    expect((await by(`http://127.0.0.1:7171${path}`)).status).toBe(200)
    expect((await by(`HTTP://LOCALHOST${path}?limit=1`)).status).toBe(200)
    expect((await by(`http://user@127.0.0.1${path}`)).status).toBe(path === '/health' ? 200 : 403)
    expect((await by(`http://evil.example${path}`)).status).toBe(path === '/health' ? 200 : 403)
  })

  it('is told what is wrong as the API does, and upgraded as others are', async () => {
    const nowhere = await answerTo(`GET http://127.0.0.1/api/v1/nowhere HTTP/1.1\r\n${HOST}\r\n`)
    expect([nowhere.status, nowhere.body]).toEqual([404, expect.stringContaining('"not_found"')])
    const upgrade = `GET http://127.0.0.1/mesh HTTP/1.1\r\n${HOST}${UPGRADE}${KEY}${VERSION}\r\n`
    expect((await answerTo(upgrade)).status).toBe(101)
  })
})

describe('who has no token that counts', () => {
  const API = [
    ['what is not there', 'GET', '/api/v1/nowhere', ''],
    ['a method that is none', 'PUT', '/api/v1/agents', ''],
    ['a query that is wrong', 'GET', '/api/v1/agents?limit=many', ''],
    ['a body that is wrong', 'POST', '/api/v1/messages', '{}'],
    ['a body that never comes', 'POST', '/api/v1/messages', null],
  ] as const

  it.each(API)(
    'is answered 401 by the operations API, in its words, to %s',
    async (_, method, path, body) => {
      const length = `Content-Length: ${body === null ? 1_000 : body.length}\r\n`
      const head = `${method} ${path} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${length}`
      const settings = await withSecret()
      for (const token of ['', 'Authorization: Bearer nonsense\r\n']) {
        const answer = await answerTo(`${head}${token}\r\n${body ?? ''}`, settings)
        expect(answer.status).toBe(401)
        expect(answer.headers).toMatchObject({ 'www-authenticate': 'Bearer' })
        expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'unauthorized', retryable: false } })
      }
    },
  )

  it('is answered 503 by the operations API while that cannot be found out', async () => {
    await using hub = await startTestHub('memory', { jwksUrl: 'http://127.0.0.1:1/keys' })
    const { privateKey } = await keyPair('ES256')
    const headers = bearer(await signed(privateKey, { alg: 'ES256' }))
    const response = await fetch(`${hub.httpUrl}/api/v1/agents`, { headers })
    expect(response.status).toBe(503)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await response.json()).toMatchObject({ error: { code: 'internal', retryable: true } })
  })

  it.each(['/registry/agents', '/metrics', '/api/v1/agents', '/nowhere'])(
    'counts in the rate of its address at %s',
    async (path) => {
      const settings = { ...(await withSecret()), ratePerSecond: 1, rateBurst: 3 }
      await using hub = await startTestHub('memory', settings)
      const statuses: number[] = []
      for (let i = 0; i < 5; i++) statuses.push((await fetch(`${hub.httpUrl}${path}`)).status)
      expect(statuses).toEqual([401, 401, 401, 429, 429])
    },
  )

  it('and who may not counts in the rate of its principal', async () => {
    const settings = { ...(await withSecret()), principalRatePerSecond: 1, principalRateBurst: 3 }
    await using hub = await startTestHub('memory', settings)
    const headers = bearer(await tokenFor('ann', { ns: 'other' }))
    const statuses: number[] = []
    for (let i = 0; i < 5; i++)
      statuses.push((await fetch(`${hub.httpUrl}/registry/agents`, { headers })).status)
    expect(statuses).toEqual([403, 403, 403, 429, 429])
  })
})
