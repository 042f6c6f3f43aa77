import { createHmac, createPublicKey } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { openSocket } from '../support/agent.ts'
import { bearer, fileOfTest, joinAs, withSecret } from '../support/authentication.ts'
import { sendRaw } from '../support/raw-http.ts'
import { keyPair, type KeyPair, pemOf, signed, tokenFor, SECRET } from '../support/tokens.ts'
import { startWatched, type WatchedHub } from '../support/watched.ts'

const UPGRADE =
  'GET /mesh HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const inAnHour = (): number => Math.floor(Date.now() / 1_000) + 3_600
/** A token whose every part is the test's own, signed by a key as HMAC. */
function forged(header: unknown, claims: unknown, key: string | Buffer): string {
  const input = `${base64(header)}.${base64(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}
/** Claims as JSON, so that any name may be in them. */
const claimsWith = (more: string): string => `{"sub":"bot","exp":${inAnHour()},"mesh":"*"${more}}`

/** How a hub answers a token at both doors: in the handshake, and in `hello` (the code it closes with, or 200). */
async function judge({ hub }: WatchedHub, token: string): Promise<{ handshake: number; hello: number }> {
  const { statuses } = await sendRaw(hub, `${UPGRADE}Authorization: Bearer ${token}\r\n\r\n`)
  await using socket = await openSocket(hub)
  socket.send({ type: 'hello', protocol: 1, ref: 1, token })
  const welcomed = socket.next('welcome').then(
    () => 200,
    () => 0,
  )
  const hello = await Promise.race([welcomed, socket.closed.then(({ code }) => code)])
  return { handshake: statuses[0] ?? 0, hello: hello || (await socket.closed).code }
}

const REFUSED = { handshake: 401, hello: 4401 }
const ACCEPTED = { handshake: 101, hello: 200 }

describe('a hub with a public key', () => {
  let pair: KeyPair
  beforeAll(async () => {
    pair = await keyPair('RS256')
  })
  const start = async (): Promise<WatchedHub> =>
    startWatched({ mxpUdpPort: undefined, jwtKeyFile: await fileOfTest('key.pem', await pemOf(pair)) })

  it('takes no token that is signed by that key as a secret, whatever form it is in', async () => {
    const watched = await start()
    await using _hub = watched.hub
    expect(await judge(watched, await signed(pair.privateKey, { alg: 'RS256' }))).toEqual(ACCEPTED)
    const pem = await pemOf(pair)
    const key = createPublicKey(pem)
    const forms = [
      pem,
      pem.trim(),
      `${pem.trim()}\n`,
      pem.replaceAll('\n', '\r\n'),
      key.export({ type: 'spki', format: 'der' }),
      key.export({ type: 'pkcs1', format: 'pem' }),
      key.export({ type: 'pkcs1', format: 'der' }),
      JSON.stringify(key.export({ format: 'jwk' })),
      '',
    ]
    for (const form of forms)
      for (const alg of ['HS256', 'RS256', 'hs256', 'HS384'])
        expect(await judge(watched, forged({ alg }, claimsWith(''), form)), alg).toEqual(REFUSED)
    expect(watched.faults).toEqual([])
  })

  it('takes none that is not signed, whatever it calls that', async () => {
    const watched = await start()
    await using _hub = watched.hub
    const good = await signed(pair.privateKey, { alg: 'RS256' })
    const [head = '', body = '', signature = ''] = good.split('.')
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', ' none', null, 0, [], ['RS256'], { alg: 'RS256' }])
      for (const end of ['', signature])
        expect(await judge(watched, `${base64({ alg })}.${body}.${end}`)).toEqual(REFUSED)
    for (const token of [
      `${head}.${body}.`,
      `${head}.${body}`,
      `${head}..${signature}`,
      `.${body}.${signature}`,
      `${good}.`,
      `${good}.x`,
    ])
      expect(await judge(watched, token)).toEqual(REFUSED)
    expect(watched.faults).toEqual([])
  })
})

describe('a hub with a secret', () => {
  it('takes nothing that somebody made of a good token', { timeout: 30_000 }, async () => {
    const watched = await startWatched({ mxpUdpPort: undefined, ...(await withSecret()) })
    await using _hub = watched.hub
    const good = await tokenFor('bot')
    const [head = '', body = '', signature = ''] = good.split('.')
    expect(await judge(watched, good)).toEqual(ACCEPTED)
    const character = fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '-', '_', '.', '=', '+', '/', '~')
    const mutants = fc.oneof(
      fc
        .tuple(fc.nat(good.length - 2), character)
        .map(([at, one]) => good.slice(0, at) + one + good.slice(at + 1)),
      fc
        .tuple(fc.nat(good.length - 2), character)
        .map(([at, one]) => good.slice(0, at) + one + good.slice(at)),
      fc.nat(good.length - 2).map((length) => good.slice(0, length)),
      fc
        .shuffledSubarray([head, body, signature, head, body], { minLength: 1 })
        .map((parts) => parts.join('.')),
      fc.json().map((claims) => `${head}.${base64(claims)}.${signature}`),
      fc.json().map((header) => `${base64(header)}.${body}.${signature}`),
    )
    await fc.assert(
      fc.asyncProperty(mutants, async (token) => {
        if (token === good || token === '') return
        const { statuses } = await sendRaw(watched.hub, `${UPGRADE}Authorization: Bearer ${token}\r\n\r\n`)
        expect(statuses).toEqual([401])
      }),
      { numRuns: 150 },
    )
    expect(watched.faults).toEqual([])
  })

  it(
    'answers any Authorization header with 401, or 400 where it is no header',
    { timeout: 30_000 },
    async () => {
      const watched = await startWatched({ mxpUdpPort: undefined, ...(await withSecret()) })
      await using _hub = watched.hub
      const values = fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
        fc
          .tuple(
            fc.constantFrom('Bearer', 'bearer', 'Basic', 'Digest', 'BEARER\t'),
            fc.string({ maxLength: 60 }),
          )
          .map(([scheme, text]) => Buffer.from(`${scheme} ${text}`)),
      )
      await fc.assert(
        fc.asyncProperty(values, async (value) => {
          // A line end would begin another header, which may be a good one.
          fc.pre(!value.includes(10) && !value.includes(13) && value.toString().trim() !== '')
          const bytes = Buffer.concat([
            Buffer.from(`${UPGRADE}Authorization: `),
            value,
            Buffer.from('\r\n\r\n'),
          ])
          const { statuses } = await sendRaw(watched.hub, bytes)
          expect([400, 401]).toContain(statuses[0])
          expect(statuses).toHaveLength(1)
        }),
        { numRuns: 150 },
      )
      expect(watched.faults).toEqual([])
    },
  )

  it('reads claims as they are, and void as a whole where one is wrong', { timeout: 30_000 }, async () => {
    const watched = await startWatched({ mxpUdpPort: undefined, ...(await withSecret()) })
    await using _hub = watched.hub
    const token = (more: string): string => forged({ alg: 'HS256' }, claimsWith(more), SECRET)
    expect(await judge(watched, token(''))).toEqual(ACCEPTED)
    for (const wrong of [
      ',"mesh":{"__proto__":true}',
      ',"mesh":{"constructor":["*"]}',
      ',"mesh":["__proto__:x"]',
      ',"mesh":["toString"]',
      ',"ns":"__proto__"',
      ',"ns":{"__proto__":"default"}',
      ',"sub":{"__proto__":"bot"}',
      ',"sub":["bot"]',
      ',"sub":"bot\\u0000"',
      ',"sub":"bot\\n"',
      ',"exp":1e308',
      ',"exp":1e400',
      ',"exp":-1',
      ',"exp":"9999999999"',
      ',"nbf":1e300',
      `,"mesh":${'['.repeat(2_000)}${']'.repeat(2_000)}`,
    ])
      expect(await judge(watched, token(wrong)), wrong.slice(0, 60)).toEqual(REFUSED)
    // Without the claims it needs, which no prototype gives it.
    const bare = forged({ alg: 'HS256' }, `{"__proto__":${claimsWith('')}}`, SECRET)
    expect(await judge(watched, bare)).toEqual(REFUSED)
    const kids = ['__proto__', '../../etc/passwd', "' OR 1=1 --", '', 'x'.repeat(4_000), 0, { a: 1 }]
    for (const kid of kids) {
      const { handshake, hello } = await judge(watched, forged({ alg: 'HS256', kid }, claimsWith(''), SECRET))
      // With one secret no kid says anything else.
      expect([101, 401], JSON.stringify(kid)).toContain(handshake)
      expect([200, 4401]).toContain(hello)
    }
    expect(watched.faults).toEqual([])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('takes a subject that is a name of objects as any other', async () => {
    const watched = await startWatched({ mxpUdpPort: undefined, ...(await withSecret()) })
    await using _hub = watched.hub
    for (const sub of ['__proto__', 'constructor', 'toString']) {
      await using agent = await joinAs(watched.hub, sub)
      expect(agent.id).toBe(sub)
      const headers = bearer(await tokenFor('other'))
      await using other = await openSocket(watched.hub, { headers })
      const hello = {
        protocol: 1,
        type: 'hello',
        agent: { id: sub, name: 'other-name', capabilities: ['nlp'] },
      }
      expect(await other.refusal(hello)).toMatchObject({ code: 'forbidden' })
    }
    expect(watched.faults).toEqual([])
  })
})
