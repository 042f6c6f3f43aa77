import { describe, expect, it } from 'vitest'
import { connect } from '../../client/node.ts'
import { connectAgent } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { MxpUdp } from '../support/mxp-udp.ts'

describe.each(CORES)('the quotas of a namespace on %s', (core) => {
  it('of agents refuse the hello of another one, on any hub, until one is gone', async () => {
    await using mesh = await startMesh(core, 2, { namespaceAgentsMax: 2 })
    await using one = await connectAgent(mesh.hub(0), { id: 'a1' })
    await using two = await connectAgent(mesh.hub(1), { id: 'a2' })
    await expect(connectAgent(mesh.hub(1), { id: 'a3' })).rejects.toMatchObject({
      code: 'quota_exceeded',
      retryable: true,
      retryAfterMs: 10_000,
      message: 'namespace "default" has 2 agents, those offline included, and may have no more',
    })
    await using elsewhere = await connectAgent(mesh.hub(1), { id: 'a3', namespace: 'other' })
    await elsewhere.roundTrip()
    await using again = await connectAgent(mesh.hub(1), { id: 'a1', session: one.session })
    expect(again.welcome.resumed).toBe(true)
    await two.request({ type: 'bye' })
    await using three = await connectAgent(mesh.hub(0), { id: 'a3' })
    await three.roundTrip()
  })

  it('of agents refuse who joins over HTTP or UDP, too', async () => {
    await using hub = await startTestHub(core, { namespaceAgentsMax: 1, mxpUdpPort: 0 })
    const register = async (id: string): Promise<Response> =>
      fetch(`${hub.httpUrl}/registry/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          instance_id: id,
          hostname: 'h',
          port: 1,
          capabilities: [],
          agent_profiles: [],
        }),
      })
    expect([(await register('h1')).status, (await register('h1')).status]).toEqual([200, 200])
    const refused = await register('h2')
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([
      429,
      '10',
      { code: 'quota_exceeded', error: expect.stringContaining('has 1 agents') },
    ])
    await using udp = await MxpUdp.open(hub)
    const agent = { id: 'u1', name: 'reviewer', capabilities: ['nlp'], address: '127.0.0.1:50051' }
    expect(await udp.ask('AgentRegister', agent)).toMatchObject({ type: 'Error', code: 'QUOTA_EXCEEDED' })
    await expect(connectAgent(hub, { id: 'a1' })).rejects.toMatchObject({ code: 'quota_exceeded' })
  })

  it('of bytes in inboxes refuse a send with what to do, and take it when there is room', async () => {
    await using hub = await startTestHub(core, { namespaceInboxBytesMax: 2_000 })
    await using sender = await connectAgent(hub, { id: 'sender', producer: 'producer-1' })
    await using reader = await connectAgent(hub, { id: 'reader' })
    const send = (seq: number): object => ({
      type: 'send',
      seq,
      to: { agent: 'reader' },
      messageType: 'query',
      payload: 'x'.repeat(1_000),
    })
    await sender.request(send(1))
    expect(await sender.refusal(send(2))).toMatchObject({
      code: 'quota_exceeded',
      retryable: true,
      retryAfterMs: 1_000,
      message:
        'with this message the inboxes of namespace "default" would hold more than 2000 bytes; send again later',
      remedy: expect.stringContaining('inboxes'),
    })
    // What answers is not kept back.
    await sender.request({ ...send(3), messageType: 'response', correlationId: 'c1' })
    const { id } = await reader.next('message')
    reader.send({ type: 'ack', ids: [id] })
    let seq = 4
    await expect.poll(async () => (await sender.answer(send(seq++))).type).toBe('ok')
  })

  it('of agents end the first try of a client after takenTimeoutMs, as a name that is taken does', async () => {
    await using hub = await startTestHub(core, { namespaceAgentsMax: 1 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const late = connect({ url: hub.url, name: 'late', capabilities: ['nlp'], takenTimeoutMs: 0 })
    await expect(late).rejects.toMatchObject({ code: 'quota_exceeded' })
    await agent.roundTrip()
  })
})
