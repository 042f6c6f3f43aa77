import { writeFile } from 'node:fs/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Settings } from '../../src/config.ts'
import type { HubServer } from '../../src/server.ts'
import { connectAgent, openSocket, type TestAgent } from '../support/agent.ts'
import { bearer, fileOfTest } from '../support/authentication.ts'
import { type CoreKind, CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { MxpSocket } from '../support/mxp-agent.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { openStream } from '../support/streams.ts'

const tokenOf = (sub: string): string => `the-token-of-${sub}-to-be`
const headersOf = (sub: string): Record<string, string> => bearer(tokenOf(sub))

/** Who is listed, each with the token that is called after it, and what it may do. */
type Listed = Readonly<Record<string, readonly string[]>>

const textOf = (listed: Listed): string =>
  JSON.stringify(
    Object.entries(listed).map(([sub, permissions]) => ({ token: tokenOf(sub), sub, permissions })),
  )

interface Listing {
  readonly settings: Partial<Settings>
  /** Lists these instead; hubs see it within a second. */
  list(listed: Listed): Promise<void>
}

async function listing(listed: Listed): Promise<Listing> {
  const tokensFile = await fileOfTest('tokens.json', textOf(listed))
  return { settings: { tokensFile }, list: (next) => writeFile(tokensFile, textOf(next)) }
}

const join = (hub: { readonly url: string }, sub: string): Promise<TestAgent> =>
  connectAgent(hub, { name: `${sub}-name`, headers: headersOf(sub) })

const ALL = ['*']

describe.each(CORES)('on %s, who is listed with less', (core: CoreKind) => {
  it.each([1, 2])('sends no more chunks to whom it may not send, over %i hubs', async (hubs) => {
    const { settings, list } = await listing({ alice: ALL, bob: ALL, carol: ALL })
    await using mesh = await startMesh(core, hubs, settings)
    await using alice = await join(mesh.hub(0), 'alice')
    await using bob = await join(mesh.hub(hubs - 1), 'bob')
    await using carol = await join(mesh.hub(hubs - 1), 'carol')
    const toBob = await openStream(alice, bob, 's1')
    const toCarol = await openStream(alice, carol, 's2')
    await list({ alice: ['register', 'serve', 'send:carol'], bob: ALL, carol: ALL })
    const forbidden = { type: 'stream.end', error: { code: 'forbidden' } }
    expect(await bob.next('stream.end')).toMatchObject({ ...forbidden, stream: toBob.received })
    expect(await alice.next('stream.end')).toMatchObject({ ...forbidden, stream: 's1' })
    carol.send({ type: 'stream.credit', stream: toCarol.received, credit: 1 })
    await alice.next('stream.credit')
    alice.send({ type: 'stream.chunk', stream: 's2', seq: 0, payload: 'still' })
    expect(await carol.next('stream.chunk')).toMatchObject({ payload: 'still' })
  })

  it('leads no more where it is an MXP agent at the gateway', async () => {
    const { settings, list } = await listing({ ann: ALL, ben: ALL })
    await using hub = await startTestHub(core, settings)
    await using ann = await MxpSocket.open(hub.url, ['mxp.v1'], headersOf('ann'))
    await ann.register({ id: 'ann', name: 'ann', capabilities: ['nlp'], leaderEligible: true })
    await using ben = await join(hub, 'ben')
    expect(await ben.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'ann' } })
    await list({ ann: ['register', 'serve'], ben: ALL })
    await expect
      .poll(() => ben.request({ type: 'leader' }), { timeout: 5_000 })
      .toMatchObject({
        leader: { agentId: 'ben' },
      })
  })

  it('leads no more where it is a member over HTTP, from its next heartbeat on', async () => {
    const { settings, list } = await listing({ ann: ALL, ben: ALL })
    const hub: HubServer = await startTestHub(core, settings)
    onTestFinished(() => hub.close())
    const ann = new MeshClient(hub, headersOf('ann'))
    expect(await ann.register('m1')).toMatchObject({ is_leader: true })
    await using ben = await join(hub, 'ben')
    await list({ ann: ['register', 'serve', 'discover'], ben: ALL })
    await expect
      .poll(async () => (await ann.beat('m1')).json, { timeout: 5_000 })
      .toMatchObject({ acknowledged: true, leader_id: 'ben' })
    expect(await ben.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'ben' } })
  })
})

describe('a token that is listed as somebody else’s', () => {
  it('closes who came with it as another one: 4401', async () => {
    const tokensFile = await fileOfTest('tokens.json', textOf({ alice: ALL }))
    await using hub = await startTestHub('memory', { tokensFile })
    await using alice = await join(hub, 'alice')
    await using observer = await openSocket(hub, { headers: headersOf('alice') })
    await writeFile(tokensFile, JSON.stringify([{ token: tokenOf('alice'), sub: 'bob', permissions: ['*'] }]))
    expect((await alice.closed).code).toBe(4401)
    expect((await observer.closed).code).toBe(4401)
    await using bob = await connectAgent(hub, { name: 'bob-name', headers: headersOf('alice') })
    expect(bob.id).toBe('bob')
  })
})
