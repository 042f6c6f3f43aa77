import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { isSocketAddress } from '../../src/mxp/registration.ts'
import { connectAgent } from '../support/agent.ts'
import { newStore, startTestHub } from '../support/hubs.ts'
import { message, MxpUdp } from '../support/mxp-udp.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const SETTINGS = { mxpUdpPort: 0 } as const

const agentOf = (name: string, fields: object = {}) => ({
  id: randomUUID(),
  name,
  capabilities: ['nlp'],
  address: '127.0.0.1:9',
  ...fields,
})

const namesOf = (answer: Record<string, unknown>): string[] =>
  (answer.agents as { name: string }[]).map(({ name }) => name)

describe('the MXP registry, over an address’s rate,', () => {
  it('answers later who asks one thing after the other, and passes over nothing', async () => {
    await using hub = await startTestHub('memory', { ...SETTINGS, mxpUdpRatePerSecond: 50 })
    await using udp = await MxpUdp.open(hub)
    const start = performance.now()
    for (let i = 0; i < 150; i++)
      expect(await udp.ask('AgentHeartbeat', { agent_id: 'a' })).toMatchObject({ needs_register: true })
    // 100 at once, and 50 in the second that follows.
    expect(performance.now() - start).toBeGreaterThan(900)
  })

  it('gives every page of a large discovery to who asks for one after the other', async () => {
    await using hub = await startTestHub('memory', { ...SETTINGS, mxpUdpRatePerSecond: 50 })
    await using udp = await MxpUdp.open(hub)
    const metadata = { description: 'd'.repeat(5_000) }
    for (let i = 0; i < 30; i++) await udp.ask('AgentRegister', agentOf(`agent-${i}`, { metadata }))
    let seen = 0
    for (let offset: unknown = 0; offset !== undefined;) {
      const page = await udp.ask('AgentDiscover', { capability: 'nlp', offset })
      seen += namesOf(page).length
      offset = page.next_offset
    }
    expect(seen).toBe(30)
  })
})

describe('no agent keeps a client from what it asked for:', () => {
  it.each([
    ['127.0.0.1:0', true],
    ['127.0.0.1:0000000080', true],
    ['127.0.0.1:65536', false],
    ['[fe80::1%5]:9', true],
    ['[fe80::1%4294967295]:9', true],
    // A zone is a u32.
    ['[fe80::1%4294967296]:9', false],
    ['[fe80::1%eth0]:9', false],
  ])('%s is an address that Rust reads: %s', (text, isOne) => {
    expect(isSocketAddress(text)).toBe(isOne)
  })

  it('one whose address Rust would not read is told without it', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using _worker = await connectAgent(hub, { capabilities: ['nlp'], address: '[::1%4294967296]:1' })
    await using udp = await MxpUdp.open(hub)
    expect(await udp.ask('AgentDiscover', { capability: 'nlp' })).toMatchObject({
      agents: [{ address: '0.0.0.0:0' }],
    })
    expect(await udp.ask('AgentRegister', agentOf('a', { address: '[::1%4294967296]:1' }))).toMatchObject({
      code: 'SERIALIZATION',
    })
  })

  it('one that would not fit even without description and tags is told in fewer words, and the next ones as ever', async () => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const long = Array.from({ length: 19 }, (_, i) => `${'c'.repeat(60)}${i}`)
    const talker = agentOf('a-talker', {
      capabilities: ['nlp', ...long],
      metadata: { version: 'v'.repeat(16_300) },
    })
    expect(await udp.ask('AgentRegister', talker)).toMatchObject({ success: true })
    await udp.ask('AgentRegister', agentOf('b-next'))
    const seen: string[] = []
    let offset: unknown = 0
    for (let pages = 0; offset !== undefined && pages < 3; pages++) {
      udp.send(message('AgentDiscover', { capability: 'nlp', offset }))
      const answer = await udp.next()
      expect(answer.payload.length).toBeLessThan(16_384 - 40)
      const page = JSON.parse(new TextDecoder().decode(answer.payload)) as Record<string, unknown>
      seen.push(...namesOf(page))
      offset = page.next_offset
    }
    expect(seen).toEqual(['a-talker', 'b-next'])
    expect(offset).toBeUndefined()
  })
})

describe('a name', () => {
  it.each([
    ['\u0085', false],
    ['\u3000 ', false],
    // No white space to Unicode, nor to Rust.
    ['\uFEFF', true],
    ['n'.repeat(256), true],
    ['n'.repeat(257), false],
  ])('%j may be one: %s', async (name, isOne) => {
    await using hub = await startTestHub('memory', SETTINGS)
    await using udp = await MxpUdp.open(hub)
    const answer = await udp.ask('AgentRegister', agentOf(name))
    if (isOne) expect(answer).toMatchObject({ success: true })
    else
      expect(answer).toMatchObject({
        code: 'INVALID_AGENT_NAME',
        error: expect.stringContaining('256 characters'),
      })
  })
})

it('one of the SDK’s examples that starts anew at its address, with another id, has its place again', async () => {
  await using hub = await startTestHub('memory', SETTINGS)
  await using udp = await MxpUdp.open(hub)
  const register = async (id: string, endpoint: string) => {
    udp.send(
      message('AgentRegister', {
        agent_id: id,
        name: 'CodeReviewer',
        capabilities: ['code.review'],
        endpoint,
      }),
    )
    return (await udp.next()).type
  }
  expect(await register('one', '127.0.0.1:50052')).toBe('Ack')
  expect(await register('two', '127.0.0.1:50052')).toBe('Ack')
  expect(await udp.ask('AgentDiscover', { capability: 'code.review' })).toMatchObject({
    agents: [{ id: 'two', address: '127.0.0.1:50052' }],
    count: 1,
  })
  // Elsewhere it may be somebody else.
  expect(await register('three', '127.0.0.1:50053')).toBe('Error')
})

it('while the store does not answer, an Error comes before a client stops waiting', async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const { port } = new URL(redisUrl)
  await using proxy = await startTcpProxy(Number(port))
  await using hub = await startTestHub('redis', {
    ...SETTINGS,
    keyPrefix,
    redisUrl: `redis://127.0.0.1:${proxy.port}`,
  })
  await using udp = await MxpUdp.open(hub)
  expect(await udp.ask('AgentRegister', agentOf('a'))).toMatchObject({ success: true })
  proxy.stall()
  udp.send(message('AgentHeartbeat', { agent_id: 'a' }))
  const answer = await udp.next(4_500)
  expect(answer.type).toBe('Error')
  proxy.heal()
}, 20_000)
