import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { startHub } from '../src/server.ts'
import { startRedis } from './support/redis.ts'
import { fileOfTest } from './support/authentication.ts'
import { certificateIn, temporaryFolder } from './support/certificates.ts'
import { startTestHub } from './support/hubs.ts'
import { MeshClient } from './support/spec-ai.ts'
import { runNode } from './support/run.ts'
import { asker, join, nack, NLP, PLACES, send, sendAll, startSpan, watchDead } from './support/talk.ts'

const MAIN = 'dist/src/cli/main.js'

const status = (url: string, ...flags: string[]) => runNode([MAIN, 'status', '--url', url, ...flags])

describe.each(PLACES)('meshwire status, on %s with %i hub(s)', (core, hubs) => {
  test('shows agents, hubs, leader, queues and dead letters, whichever hub is asked', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using boss = await join(mesh.near, 'boss', { ...asker, name: 'boss' })
    await using bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'update', status: 'degraded', statusReason: 'GPU lost' })
    await sendAll(boss, NLP, [1, 2, 3])
    nack(bob, await bob.next('message'), { requeue: false, reason: 'no GPU' })
    await dead.next()
    await bob.next('message')
    await send(boss, { capability: 'vision' }, 1)
    for (const hub of mesh.hubs) {
      const { code, output, errors } = await status(hub.httpUrl)
      expect({ code, errors }).toEqual({ code: 0, errors: '' })
      const lines = output.split('\n').map((line) => line.trim().replaceAll(/ +/g, ' '))
      expect(lines).toEqual(
        expect.arrayContaining([
          `Namespace default by ${hub.httpUrl}`,
          `Hubs: ${hubs}`,
          expect.stringMatching(/^Leader: boss, term \d+$/),
          'Agents: 2 (1 online, 1 degraded, 0 offline)',
          'boss online websocket leader asking',
          'bob-name (bob) degraded: GPU lost websocket nlp',
          'Queues with work: 2',
          expect.stringMatching(/^nlp 1 waiting 0 delayed 1 in progress oldest \d+ m?s$/),
          expect.stringMatching(/^vision 1 waiting 0 delayed 0 in progress oldest \d+ m?s$/),
          'Dead letters: 1',
          '1 no GPU',
        ]),
      )
      for (const { id } of mesh.hubs) expect(output).toContain(id)
    }
  })
})

describe('meshwire status', () => {
  test('prints JSON of another namespace', async () => {
    await using mesh = await startSpan('memory', 1)
    await using _ = await join(mesh.near, 'alice', { namespace: 'one' })
    const { code, output } = await status(`${mesh.near.httpUrl}/`, '--json', '--namespace', 'one')
    expect(code).toBe(0)
    expect(JSON.parse(output)).toMatchObject({
      namespace: 'one',
      hubs: [{ id: mesh.near.id, agents: 1 }],
      leader: { agentId: 'alice' },
      agents: { agents: [{ id: 'alice' }], counts: { online: 1 } },
      queues: { queues: [] },
      deadLetters: { kept: 0 },
    })
  })

  test('shows the first agents and counts the others, and writes out what would move a terminal', async () => {
    await using mesh = await startSpan('memory', 1)
    const members = new MeshClient(mesh.near)
    await members.register('\u001b[2J\u202e!')
    for (let i = 0; i < 52; i++) await members.register(`m-${i}`)
    const { output } = await status(mesh.near.httpUrl)
    expect(output).toContain('Agents: 53 (53 online')
    expect(output).toContain('\\u001b[2J\\u202e!')
    expect(output).toContain('  … and 3 more\n')
    // oxlint-disable-next-line no-control-regex
    expect(output).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/)
  })

  test('shows what the hub knows itself while its store is away, says so, and ends with 1', async () => {
    const redis = await startRedis()
    await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
    await using _ = await join(hub, 'alice')
    await redis.stop()
    const { code, output } = await status(hub.httpUrl)
    expect(code).toBe(1)
    expect(output).toMatch(/^Not ready: the store does not answer \(.+\); try again$/m)
    for (const line of ['Hubs: not known', 'Queues with work: not known', 'Dead letters: not known'])
      expect(output).toContain(`\n${line}\n`)
    expect(output).toContain('Leader: alice, term')
    expect(output).toContain('Agents: 1 (1 online')
    const asked = await status(hub.httpUrl, '--json')
    expect(asked.code).toBe(1)
    expect(JSON.parse(asked.output)).toMatchObject({
      problems: [expect.stringContaining('the store'), expect.stringContaining('interrupted')],
      hubs: null,
      queues: null,
      agents: { counts: { online: 1 } },
    })
  })

  test('says what is wrong, and ends with 1, where nothing answers or something else does', async () => {
    const other = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const gone = createServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const nobody = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`
    gone.close()
    for (const [url, text] of [
      [nobody, `meshwire: nothing answers at ${nobody} (ECONNREFUSED); start a hub`],
      [`http://127.0.0.1:${port}`, 'is no Meshwire hub with an operations API (HTTP 200)'],
      ['ws://127.0.0.1:7171/mesh', 'meshwire: --url is "ws://127.0.0.1:7171/mesh"; name a hub like'],
      ['nonsense', 'meshwire: --url is "nonsense"'],
    ] as const) {
      const { code, output, errors } = await status(url)
      expect({ url, code, output }).toEqual({ url, code: 1, output: '' })
      expect(errors).toContain(text)
    }
    other.close()
    await using mesh = await startSpan('memory', 1)
    const { code, errors } = await status(mesh.near.httpUrl, '--namespace', 'No One')
    expect(code).toBe(1)
    expect(errors).toContain('namespace is "No One"; must be 1 to 64 of a-z 0-9 -')
    // Five processes, one after the other.
  }, 60_000)

  test.each(['memory', 'redis'] as const)(
    'shows the hub that it asks, before anybody came, on %s',
    async (core) => {
      await using mesh = await startSpan(core, 1)
      const { output } = await status(mesh.near.httpUrl)
      expect(output).toContain(`Hubs: 1\n  ${mesh.near.id}  0 agents`)
    },
  )

  test('says how to ask a hub that wants a token, or has a certificate of its own', async () => {
    const { certFile: tlsCert, keyFile: tlsKey } = certificateIn(temporaryFolder(), 'one')
    const tokensFile = await fileOfTest('tokens.json', '[]')
    await using hub = await startTestHub('memory', { tlsCert, tlsKey, tokensFile })
    const { port } = new URL(hub.httpUrl)
    const url = `https://localhost:${port}`
    const errorsOf = async (at: string, env = {}, ...flags: string[]): Promise<string> => {
      const { code, errors } = await runNode([MAIN, 'status', '--url', at, ...flags], env)
      expect(code).toBe(1)
      return errors.replace(/^\(node:.*\n(?:\(Use .*\n)?/gm, '')
    }
    const trusted = { NODE_EXTRA_CA_CERTS: tlsCert }
    const [foreign, plain, without, nowhere] = await Promise.all([
      errorsOf(url),
      errorsOf(`http://localhost:${port}`),
      errorsOf(url, trusted),
      errorsOf(url, trusted, '--token-file', '/nowhere'),
    ])
    expect(foreign).toBe(
      `meshwire: the certificate of ${url} is not accepted: self-signed certificate (DEPTH_ZERO_SELF_SIGNED_CERT); name the PEM file of an authority of your own in NODE_EXTRA_CA_CERTS\n`,
    )
    expect(plain).toContain('; where it speaks TLS, ask by https://')
    expect(without).toMatch(
      /^meshwire: a token is missing; .*\(HTTP 401\)\. Name a file with a token by --token-file\.\n$/,
    )
    expect(nowhere).toMatch(/^meshwire: --token-file is "\/nowhere": ENOENT/)
    // Four processes side by side.
  }, 60_000)
})
