import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { connectAgent, openSocket } from '../support/agent.ts'
import { bearer, fileOfTest, joinAs, startClockedHub, withSecret } from '../support/authentication.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { keyPair, pemOf, signed, startIssuer, tokenFor } from '../support/tokens.ts'

const AGENT = { name: 'tester', capabilities: ['nlp'] }

/** The HTTP status and body of an upgrade that is refused. */
async function refusedUpgrade(
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly status: number | undefined; readonly text: string; readonly headers: object }> {
  return new Promise((resolve, reject) => {
    const asked = request(url.replace('ws:', 'http:'), {
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        ...headers,
      },
    })
    asked.on('response', (response) => {
      textOf(response).then(
        (text) => resolve({ status: response.statusCode, text, headers: response.headers }),
        reject,
      )
    })
    asked.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('upgraded'))
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe.each(CORES)('authentication on %s', (core) => {
  it('lets in by the header of the handshake, or by hello', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using alice = await joinAs(hub, 'alice')
    expect(alice.id).toBe('alice')
    expect(Date.parse(alice.welcome.expiresAt ?? '')).toBeGreaterThan(Date.now() + 3_590_000)
    await using socket = await openSocket(hub)
    const welcome = await socket.hello({ token: await tokenFor('bob'), agent: AGENT })
    expect(welcome.agent?.id).toBe('bob')
  })

  it('refuses a bad handshake before the upgrade with 401, and a bad hello with 4401', async () => {
    await using hub = await startTestHub(core, await withSecret())
    const expired = await tokenFor('alice', { expiresIn: -60 })
    for (const authorization of ['Bearer x.y.z', `Bearer ${expired}`, 'Digest abc', 'Bearer', '']) {
      const { status, text, headers } = await refusedUpgrade(hub.url, { authorization })
      expect([status, text]).not.toContain(expired)
      expect(status).toBe(401)
      expect(headers).toMatchObject({ 'www-authenticate': 'Bearer', 'cache-control': 'no-store' })
    }
    for (const token of [expired, 'x', '', null, undefined]) {
      await using socket = await openSocket(hub)
      expect(await socket.refusal({ type: 'hello', protocol: 1, token, agent: AGENT })).toMatchObject({
        code: 'unauthorized',
        retryable: false,
      })
      expect((await socket.closed).code).toBe(4401)
    }
  })

  it('gives the token to no one else: a hello that was refused for its name may be said again as another', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using _alice = await joinAs(hub, 'alice', {}, { name: 'taken' })
    await using socket = await openSocket(hub)
    const hello = { type: 'hello', protocol: 1, agent: { ...AGENT, name: 'taken' } }
    expect((await socket.refusal({ ...hello, token: await tokenFor('bob') })).code).toBe('name_taken')
    expect((await socket.hello({ token: await tokenFor('carol'), agent: AGENT })).agent?.id).toBe('carol')
  })

  it('a principal owns its subject and what begins with it, and no other id', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using one = await joinAs(hub, 'bot', {}, { id: 'bot:1', name: 'bot-1' })
    await using two = await joinAs(hub, 'bot', {}, { id: 'bot:2', name: 'bot-2' })
    expect([one.id, two.id]).toEqual(['bot:1', 'bot:2'])
    for (const id of ['bots', 'other', 'bo', 'bot.1', 'other:bot'])
      await expect(joinAs(hub, 'bot', {}, { id })).rejects.toMatchObject({
        code: 'forbidden',
        message: expect.stringContaining('"bot:"') as string,
      })
  })

  it('a token is for its namespaces', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using _a = await joinAs(hub, 'bot', { ns: ['a', 'team-*'] }, { namespace: 'a' })
    await using _b = await joinAs(hub, 'bot', { ns: ['a', 'team-*'] }, { namespace: 'team-7' })
    await expect(joinAs(hub, 'bot', { ns: ['a', 'team-*'] })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(joinAs(hub, 'bot', {}, { namespace: 'a' })).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('the subject of the token is the proof for a takeover, without a session and at once', async () => {
    await using mesh = await startMesh(core, 2, await withSecret())
    await using first = await joinAs(mesh.hub(0), 'alice')
    await using _second = await joinAs(mesh.hub(1), 'alice')
    expect((await first.closed).code).toBe(4409)
  })

  it('a name stays its principal’s while its agent is offline, on whatever hub', async () => {
    await using mesh = await startMesh(core, 2, await withSecret())
    const alice = await joinAs(mesh.hub(0), 'alice', {}, { name: 'planner' })
    await alice.request({ type: 'bye', keep: true })
    const thief = joinAs(mesh.hub(1), 'mallory', {}, { name: 'planner' })
    await expect(thief).rejects.toMatchObject({
      code: 'name_taken',
      message: expect.stringContaining("another principal's") as string,
    })
    await using again = await joinAs(mesh.hub(1), 'alice', {}, { name: 'planner' })
    expect(again.welcome.resumed).toBe(true)
  })

  it('an id that two principals could own is the first one’s, on whatever hub', async () => {
    await using mesh = await startMesh(core, 2, await withSecret())
    await using first = await joinAs(mesh.hub(0), 'a:b')
    await expect(joinAs(mesh.hub(1), 'a', {}, { id: 'a:b' })).rejects.toMatchObject({ code: 'forbidden' })
    await first.roundTrip()
  })

  it('without authentication no token is looked at, and an id without a subject is made', async () => {
    await using hub = await startTestHub(core)
    await using agent = await connectAgent(hub, { headers: bearer('x'), hello: { token: 'y' } })
    expect([agent.id, agent.welcome.expiresAt]).toEqual([expect.stringMatching(/^[\w-]{21}$/), null])
    expect(await agent.request({ type: 'auth', token: 'z' })).toEqual({ expiresAt: null })
  })
})

describe('tokens of a file', () => {
  const entry = (sub: string, more: object = {}) => ({
    token: `the-token-of-${sub}`,
    sub,
    permissions: ['*'],
    ...more,
  })
  const join = (hub: { readonly url: string }, sub: string) =>
    connectAgent(hub, { name: `${sub}-name`, headers: bearer(`the-token-of-${sub}`) })

  it('let in, and are looked at again when the file changes: who is gone is closed 4401, who may do less does', async () => {
    const tokensFile = await fileOfTest('tokens.json', JSON.stringify([entry('alice'), entry('bob')]))
    await using hub = await startTestHub('memory', { tokensFile })
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    await writeFile(
      tokensFile,
      JSON.stringify([entry('bob', { permissions: ['register', 'serve', 'discover'] })]),
    )
    expect((await alice.closed).code).toBe(4401)
    await bob.request({ type: 'discover' })
    expect((await bob.refusal({ type: 'subscribe' })).code).toBe('forbidden')
    await expect(join(hub, 'alice')).rejects.toThrow('401')
  })

  it('go beside signed ones', async () => {
    const tokensFile = await fileOfTest('tokens.json', JSON.stringify([entry('alice')]))
    await using hub = await startTestHub('memory', { tokensFile, ...(await withSecret()) })
    await using _alice = await join(hub, 'alice')
    await using bob = await joinAs(hub, 'bob')
    expect(bob.id).toBe('bob')
  })
})

describe('keys', () => {
  it.each(['RS256', 'ES256', 'EdDSA'])(
    'of %s in a file let in who has a token signed with them',
    async (alg) => {
      const pair = await keyPair(alg)
      await using hub = await startTestHub('memory', {
        jwtKeyFile: await fileOfTest('key.pem', await pemOf(pair)),
      })
      const token = await signed(pair.privateKey, { alg })
      await using agent = await connectAgent(hub, { headers: bearer(token) })
      expect(agent.id).toBe('bot')
    },
  )

  it('of an issuer are fetched, and new ones as they come', async () => {
    const issuer = await startIssuer()
    const [one, two] = [await keyPair('ES256'), await keyPair('ES256')]
    await issuer.publish({ pair: one, kid: 'k1' })
    await using hub = await startTestHub('memory', { jwksUrl: issuer.url })
    const join = async (pair: typeof one, kid: string) =>
      connectAgent(hub, { headers: bearer(await signed(pair.privateKey, { alg: 'ES256', kid })) })
    await using _first = await join(one, 'k1')
    await issuer.publish({ pair: two, kid: 'k2' })
    await using _second = await join(two, 'k2')
    await expect(join(one, 'k1')).rejects.toThrow('401')
    expect(issuer.asked).toBe(3)
  })

  it('that cannot be fetched are 503 with Retry-After, and in hello an error that passes', async () => {
    const issuer = await startIssuer()
    issuer.answer = (response) => void response.writeHead(500).end()
    const pair = await keyPair('ES256')
    await issuer.publish({ pair, kid: 'k1' })
    await using hub = await startTestHub('memory', { jwksUrl: issuer.url })
    const token = await signed(pair.privateKey, { alg: 'ES256', kid: 'k1' })
    expect(await refusedUpgrade(hub.url, bearer(token))).toMatchObject({
      status: 503,
      headers: { 'retry-after': '2' },
    })
    await using socket = await openSocket(hub)
    expect(await socket.refusal({ type: 'hello', protocol: 1, token, agent: AGENT })).toMatchObject({
      code: 'internal',
      retryable: true,
      retryAfterMs: 2_000,
    })
    expect(socket.webSocket.readyState).toBe(socket.webSocket.OPEN)
  })
})

describe('a token that ends', () => {
  it('closes its socket with 4003, 25 s after it did', async () => {
    await using hub = await startClockedHub()
    await using alice = await joinAs(hub, 'alice', { expiresIn: 60 })
    await using bob = await joinAs(hub, 'bob', { expiresIn: 3_600 })
    hub.pass(60_000 + 22_000)
    await alice.roundTrip()
    hub.pass(3_000)
    expect(await alice.closed).toEqual({ code: 4003, reason: 'token_expired' })
    await bob.roundTrip()
  })

  it('is replaced in band by one of the same subject, and the connection goes on', async () => {
    await using hub = await startClockedHub()
    await using alice = await joinAs(hub, 'alice', { expiresIn: 60 })
    const token = await tokenFor('alice', { expiresIn: 600 })
    const { expiresAt } = await alice.request<{ expiresAt: string }>({ type: 'auth', token })
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + 590_000)
    hub.pass(500_000)
    await alice.roundTrip()
    hub.pass(130_000)
    expect((await alice.closed).code).toBe(4003)
  })

  it('is not replaced by one of another subject, or a bad one: that is refused, and the old one counts until its end', async () => {
    await using hub = await startClockedHub()
    await using alice = await joinAs(hub, 'alice', { expiresIn: 60 })
    const foreign = await tokenFor('mallory', { expiresIn: 600 })
    expect((await alice.refusal({ type: 'auth', token: foreign })).code).toBe('forbidden')
    expect((await alice.refusal({ type: 'auth', token: 'x' })).code).toBe('unauthorized')
    expect((await alice.refusal({ type: 'auth' })).code).toBe('bad_frame')
    await alice.request({ type: 'discover' })
    hub.pass(86_000)
    expect((await alice.closed).code).toBe(4003)
  })

  it('an observer’s is replaced alike', async () => {
    await using hub = await startClockedHub()
    await using socket = await openSocket(hub)
    await socket.hello({ token: await tokenFor('eye', { expiresIn: 60 }) })
    await socket.request({ type: 'auth', token: await tokenFor('eye', { expiresIn: 600 }) })
    hub.pass(90_000)
    await socket.roundTrip()
  })

  it('only one is looked at at a time', async () => {
    const issuer = await startIssuer()
    const pair = await keyPair('ES256')
    await issuer.publish({ pair, kid: 'k1' })
    await using hub = await startTestHub('memory', { jwksUrl: issuer.url })
    const fresh = (kid = 'k1') => signed(pair.privateKey, { alg: 'ES256', kid })
    await using agent = await connectAgent(hub, { headers: bearer(await fresh()) })
    let answer = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      issuer.answer = (response, keys) => {
        answer = () => void response.end(keys)
        resolve()
      }
    })
    const slow = agent.refusal({ type: 'auth', token: await fresh('k2') })
    await asked
    expect((await agent.refusal({ type: 'auth', token: await fresh() })).code).toBe('bad_frame')
    answer()
    expect((await slow).code).toBe('unauthorized')
    await agent.request({ type: 'auth', token: await fresh() })
  })
})
