import { describe, expect, it } from 'vitest'
import { connectAgent } from '../support/agent.ts'
import { bearer, joinAs, startClockedHub, withSecret } from '../support/authentication.ts'
import { join } from '../support/clients.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { type Came, connectMxp, MXP_FLAGS, MxpSocket } from '../support/mxp-agent.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { tokenFor, type TokenFields } from '../support/tokens.ts'

const { REQUIRES_ACK, FINAL } = MXP_FLAGS

const idsOf = ({ messageId, traceId }: Came) => ({ messageId, traceId })

const enter = async (hub: { readonly url: string }, sub: string, fields: TokenFields = {}) => {
  const socket = await MxpSocket.open(hub.url, ['mxp.v1'], bearer(await tokenFor(sub, fields)))
  await socket.register({ id: sub, name: sub, capabilities: [] })
  return socket
}

describe.each(CORES)('an Error that answers a Call, on %s,', (core) => {
  it('ends it at once: its caller gets that Error, and the Call goes to the dead letters', async () => {
    await using mesh = await startMesh(core, 2)
    await using observer = await connectAgent(mesh.hub(0))
    await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    await using answerer = await connectMxp(mesh.hub(1), { id: 'm2', capabilities: ['sum'] })
    for (const to of [{ agent: 'm2' }, { capability: 'sum' }]) {
      const asked = asker.send('Call', { to, payload: 1 })
      const call = await answerer.next('Call')
      answerer.send('Error', { error: 'cannot', code: 'NO_SUCH_TOOL', tool: 'x' }, idsOf(call))
      const told = await asker.answerTo(asked)
      expect(told).toMatchObject({ type: 'Error', flags: 0, traceId: asked.traceId })
      expect(told.body).toMatchObject({
        error: 'cannot',
        code: 'NO_SUCH_TOOL',
        from: 'm2',
        payload: { type: 'Error', error: 'cannot', code: 'NO_SUCH_TOOL', tool: 'x' },
      })
      await expect
        .poll(
          async () =>
            (await observer.request<{ deadLetters: object[] }>({ type: 'dead-letters.list' })).deadLetters,
        )
        .toMatchObject([{ messageId: call.body.id, agentId: 'm2', reason: 'cannot', attempts: 1 }])
      await observer.request({ type: 'dead-letters.purge', where: {} })
    }
    // Each is told once, and need not be acknowledged.
    await asker.roundTrip('m1')
    await answerer.roundTrip('m2')
    expect([asker.waiting, answerer.waiting]).toEqual([[], []])
    const store = await mesh.store()
    await expect.poll(() => store.inboxes.depth('default', 'm1')).toMatchObject({ replies: { entries: 0 } })
    expect(asker.waiting).toEqual([])
    await asker.cut()
    await using again = await connectMxp(mesh.hub(1), { id: 'm1' })
    expect(again.welcome.body).toMatchObject({ resumed: true, pending: 0 })
  })

  it('comes as a response to callers of other protocols: none of them waits for its timeout', async () => {
    await using hub = await startTestHub(core)
    await using answerer = await connectMxp(hub, { id: 'm1' })
    await using client = await join(hub, 'asker')
    const asked = client.request('m1', 1)
    answerer.send('Error', { error: 'cannot', code: 'NO' }, idsOf(await answerer.next('Call')))
    expect(await asked).toMatchObject({
      from: 'm1',
      payload: { type: 'Error', error: 'cannot', code: 'NO' },
    })
    const member = new MeshClient(hub)
    await member.register('h1')
    await member.send('h1', 'm1', 2, { message_type: 'Query', correlation_id: 'k1' })
    answerer.send('Error', { error: 'cannot', code: 'NO' }, idsOf(await answerer.next('Call')))
    await expect
      .poll(async () => (await member.request<{ messages: object[] }>('GET', '/messages/h1')).json)
      .toMatchObject({
        messages: [
          { message_type: 'Response', correlation_id: 'k1', payload: { type: 'Error', code: 'NO' } },
        ],
      })
  })

  it('asks for another attempt where it says so, and says nothing where its caller is gone', async () => {
    await using hub = await startTestHub(core)
    await using asker = await connectMxp(hub, { id: 'm1' })
    await using answerer = await connectMxp(hub, { id: 'm2' })
    const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 1 })
    let attempt = 1
    for (const wish of [{ requeue: true }, { delayMs: 20 }, { delayMs: 0 }]) {
      const call = await answerer.next('Call')
      expect(call.body.attempt).toBe(attempt++)
      answerer.send('Error', { error: 'busy', code: 'BUSY', ...wish }, idsOf(call))
    }
    const last = await answerer.next('Call')
    expect(asker.waiting).toEqual([])
    // The payload may be absent, and a delay is nothing to what is not to come again.
    answerer.send('Error', undefined, idsOf(last))
    expect((await asker.answerTo(asked)).body).toMatchObject({
      error: expect.stringContaining('without a reason'),
      code: 'CALL_FAILED',
    })
    const second = asker.send('Call', { to: { agent: 'm2' }, payload: 2 })
    answerer.send(
      'Error',
      { error: 'no', code: 'NO', requeue: false, delayMs: 5 },
      idsOf(await answerer.next('Call')),
    )
    expect((await asker.answerTo(second)).body).toMatchObject({ code: 'NO' })
    asker.send('Call', { to: { agent: 'm2' }, payload: 3 })
    const orphan = await answerer.next('Call')
    await asker.ask('AgentHeartbeat', { agent_id: 'm1' }, { flags: FINAL })
    answerer.send('Error', { error: 'no', code: 'NO' }, idsOf(orphan))
    await answerer.roundTrip('m2')
    await answerer.cut()
    await using again = await connectMxp(hub, { id: 'm2' })
    expect(again.welcome.body).toMatchObject({ pending: 0 })
    expect(again.waiting).toEqual([])
  })

  it('is a rejection of an Event as ever: it comes again', async () => {
    await using hub = await startTestHub(core)
    await using sender = await connectMxp(hub, { id: 'm1' })
    await using agent = await connectMxp(hub, { id: 'm2' })
    sender.send('Event', { to: { agent: 'm2' }, payload: 1 })
    const event = await agent.next('Event')
    agent.send('Error', { error: 'busy', code: 'BUSY' }, idsOf(event))
    expect(await agent.next('Event')).toMatchObject({ messageId: event.messageId, body: { attempt: 2 } })
    await sender.roundTrip('m1')
    expect(sender.waiting).toEqual([])
  })

  it('may be said by agents of other protocols as well', async () => {
    await using hub = await startTestHub(core)
    await using worker = await connectAgent(hub, { id: 'w1' })
    await using asker = await connectMxp(hub, { id: 'm1' })
    const respond = async (payload: object): Promise<void> => {
      const { correlationId } = await worker.next('message')
      const to = { agent: 'm1' }
      await worker.request({ type: 'send', to, messageType: 'response', correlationId, payload })
    }
    const failing = asker.send('Call', { to: { agent: 'w1' }, payload: 1 })
    await respond({ type: 'Error', error: 'cannot', code: 'NO' })
    expect(await asker.answerTo(failing)).toMatchObject({ type: 'Error', body: { error: 'cannot' } })
    // A payload that only has an error is one.
    const other = asker.send('Call', { to: { agent: 'w1' }, payload: 1 })
    await respond({ error: 'cannot', code: 'NO' })
    expect(await asker.answerTo(other)).toMatchObject({ type: 'Response', flags: REQUIRES_ACK })
  })
})

describe.each(CORES)('a Call, on %s,', (core) => {
  it('whose agent says nothing is ended by its ttlMs, once; a later Response is passed on', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    await using silent = await connectMxp(mesh.hub(1), { id: 'm2', capabilities: ['sum'] })
    for (const more of [
      { to: { agent: 'm2' } },
      { to: { capability: 'sum' } },
      { to: { agent: 'm2' }, durability: 'transient' },
    ]) {
      const asked = asker.send('Call', { payload: 1, ttlMs: 150, ...more })
      const call = await silent.next('Call')
      const told = await asker.answerTo(asked)
      expect(told).toMatchObject({
        type: 'Error',
        flags: 0,
        traceId: asked.traceId,
        body: { code: 'CALL_FAILED', status: 'expired', agentId: null, reason: null },
      })
      silent.respond(call, 'late', REQUIRES_ACK)
      const late = await asker.answerTo(asked)
      expect(late).toMatchObject({ type: 'Response', body: { payload: 'late' } })
      asker.ack(late)
      await silent.answerTo(call, 'Ack')
    }
    await asker.roundTrip('m1')
    expect(asker.waiting).toEqual([])
  })

  it('that was answered, by a Response or a stream, does not expire any more', async () => {
    await using hub = await startTestHub(core)
    await using asker = await connectMxp(hub, { id: 'm1' })
    await using answerer = await connectMxp(hub, { id: 'm2' })
    const asked = asker.send('Call', { to: { agent: 'm2' }, payload: 1, ttlMs: 300 })
    answerer.respond(await answerer.next('Call'), 2)
    expect(await asker.answerTo(asked)).toMatchObject({ type: 'Response' })
    asker.send('Call', { to: { agent: 'm2' }, payload: 1, ttlMs: 300 })
    answerer.send('StreamOpen', { stream: 's1' }, idsOf(await answerer.next('Call')))
    await asker.next('StreamOpen')
    // The timers of what follows are set later, and are over later.
    const last = asker.send('Call', { to: { agent: 'nobody-yet' }, payload: 1, ttlMs: 300 })
    expect((await asker.answerTo(last)).body.code).toBe('AGENT_NOT_FOUND')
    const marker = asker.send('Call', { to: { agent: 'm2' }, payload: 1, ttlMs: 400 })
    expect((await asker.answerTo(marker)).body).toMatchObject({ code: 'CALL_FAILED', status: 'expired' })
    expect(asker.waiting).toEqual([])
  })

  it('that was made on a connection before and goes well tells nothing; one that fails does', async () => {
    await using mesh = await startMesh(core, 2)
    const asker = await connectMxp(mesh.hub(0), { id: 'm1' })
    await using answerer = await connectMxp(mesh.hub(1), { id: 'm2' })
    const [good, bad] = [1, 2].map((payload) => asker.send('Call', { to: { agent: 'm2' }, payload }))
    if (!good || !bad) throw new Error('no calls')
    const [first, second] = [await answerer.next('Call'), await answerer.next('Call')]
    await answerer.ask('AgentHeartbeat', { agent_id: 'm2', progress: [String(first.messageId)] })
    await asker.cut()
    answerer.respond(first, 'fine', REQUIRES_ACK)
    await answerer.answerTo(first, 'Ack')
    await using again = await connectMxp(mesh.hub(1), { id: 'm1' })
    const answer = await again.answerTo(good)
    expect(answer).toMatchObject({ type: 'Response', body: { payload: 'fine' } })
    again.ack(answer)
    answerer.send('Error', { error: 'no', code: 'NO' }, idsOf(second))
    expect(await again.answerTo(bad)).toMatchObject({ type: 'Error', body: { error: 'no', code: 'NO' } })
    const third = again.send('Call', { to: { agent: 'm2' }, payload: 3 })
    await answerer.next('Call')
    await again.cut()
    await using last = await connectMxp(mesh.hub(0), { id: 'm1' })
    await answerer.ask('AgentHeartbeat', { agent_id: 'm2' }, { flags: FINAL })
    expect(await last.answerTo(third)).toMatchObject({
      type: 'Error',
      body: { code: 'CALL_FAILED', status: 'dead_lettered', reason: 'unregistered', agentId: 'm2' },
    })
    await last.roundTrip('m1')
    // The end of the second one may be told once more, where the connection was cut before that was acknowledged.
    expect(last.waiting.filter(({ messageId }) => messageId !== bad.messageId)).toEqual([])
  })
})

describe('at the gateway with authentication, a Call', () => {
  it('is ended for its caller also where its agent may not answer', async () => {
    await using hub = await startTestHub('memory', await withSecret())
    await using asker = await enter(hub, 'ann')
    await using mute = await enter(hub, 'ben', { mesh: ['register'] })
    const asked = asker.send('Call', { to: { agent: 'ben' }, payload: 1 })
    const call = await mute.next('Call')
    mute.respond(call, 2)
    expect((await mute.answerTo(call)).body).toMatchObject({ code: 'FORBIDDEN' })
    mute.send('Error', { error: 'not allowed to say', code: 'NO' }, idsOf(call))
    expect((await asker.answerTo(asked)).body).toMatchObject({
      code: 'CALL_FAILED',
      status: 'dead_lettered',
      reason: 'not allowed to say',
    })
  })

  it('goes on until the token’s grace is over, and its answer waits for the next connection', async () => {
    await using hub = await startClockedHub()
    await using worker = await joinAs(hub, 'worker', { expiresIn: 3_600 })
    const ann = await enter(hub, 'ann', { expiresIn: 60 })
    hub.pass(60_000 + 20_000)
    const asked = ann.send('Call', { to: { agent: 'worker' }, payload: 1 }, { flags: REQUIRES_ACK })
    const query = await worker.next('message')
    expect(await ann.answerTo(asked, 'Ack')).toBeDefined()
    expect((await ann.ask('AgentDiscover', { capability: 'x' })).type).toBe('Response')
    hub.pass(5_000)
    expect(await ann.closed).toEqual({ code: 4003, reason: 'token_expired' })
    const { correlationId } = query
    const to = { agent: 'ann' }
    await worker.request({ type: 'send', to, messageType: 'response', correlationId, payload: 2 })
    await using again = await enter(hub, 'ann', { expiresIn: 600 })
    expect(await again.answerTo(asked)).toMatchObject({ type: 'Response', body: { payload: 2 } })
  })
})
