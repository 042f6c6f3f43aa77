import { describe, expect, it } from 'vitest'
import type { Signal } from '../../src/core/bus.ts'
import type { Core } from '../../src/server.ts'
import { connectAgent, openSocket, type TestSocket } from '../support/agent.ts'
import { CORES, type Mesh, startMesh, startTestHub } from '../support/hubs.ts'
import { queryFrame } from '../support/talk.ts'
import { watchEvents } from '../support/watching.ts'

const hello = (id: string, fields: object = {}): object => ({
  type: 'hello',
  protocol: 1,
  agent: { id, name: `agent-${id}`, capabilities: ['nlp'] },
  ...fields,
})

/** Events of the registry and dead letters, as an observer on `hub` hears them. */
const watch = (hub: { readonly url: string }): Promise<TestSocket> =>
  watchEvents(hub, ['agent.*', 'message.dead_lettered'])

async function inboxLength(mesh: Mesh, agentId: string): Promise<number> {
  const { inboxes } = await mesh.store()
  return (await inboxes.read('default', agentId, 'inbox', 0, 100)).entries.length
}

describe.each(CORES)('with proof on %s', (core) => {
  it('the newcomer wins and the old connection is closed 4409, on one hub', async () => {
    await using hub = await startTestHub(core)
    await using old = await connectAgent(hub, { id: 'a1' })
    await using next = await connectAgent(hub, { id: 'a1', session: old.session })
    expect(await old.closed).toMatchObject({ code: 4409 })
    expect(next.welcome).toMatchObject({ resumed: true, agent: { connected: true, status: 'online' } })
    await next.request(queryFrame('a1'))
    await next.next('message')
  })

  it('the newcomer wins and the old connection is closed 4409, when the holder is on another hub', async () => {
    await using mesh = await startMesh(core, 2)
    await using observer = await watch(mesh.hub(0))
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    await observer.next('event', ({ event }) => event === 'agent.registered')
    await using next = await connectAgent(mesh.hub(1), { id: 'a1', session: old.session })
    expect(await old.closed).toMatchObject({ code: 4409 })
    expect(next.welcome.agent).toMatchObject({ hub: mesh.hub(1).id, connected: true })
    // The end of the old session is no departure of the agent.
    const moved = await observer.next('event')
    expect(moved).toMatchObject({
      event: 'agent.updated',
      agent: { hub: mesh.hub(1).id, connected: true, status: 'online' },
    })
    await using sender = await connectAgent(mesh.hub(0), { id: 'a2' })
    await sender.request(queryFrame('a1', 'to the other hub'))
    expect(await next.next('message')).toMatchObject({ payload: 'to the other hub' })
    await observer.next('event', ({ event }) => event === 'agent.registered')
    expect(observer.waitingOf('event')).toEqual([])
  })

  it('only the latest session is one', async () => {
    await using hub = await startTestHub(core)
    await using first = await connectAgent(hub, { id: 'a1' })
    await using second = await connectAgent(hub, { id: 'a1', session: first.session })
    await using socket = await openSocket(hub)
    expect(await socket.refusal(hello('a1', { session: first.session }))).toMatchObject({
      code: 'agent_taken',
      retryable: true,
    })
    await second.roundTrip()
  })

  it('what the old session was pushed and did not acknowledge comes to the new one, with a greater attempt', async () => {
    await using mesh = await startMesh(core, 2)
    await using sender = await connectAgent(mesh.hub(0), { id: 'a2' })
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    for (const payload of [1, 2, 3]) await sender.request(queryFrame('a1', payload))
    const first = await old.next('message')
    await old.next('message', ({ payload }) => payload === 3)
    old.send({ type: 'ack', ids: [first.id] })
    // Acknowledgements are collected for some milliseconds before they are stored.
    await expect.poll(() => inboxLength(mesh, 'a1')).toBe(2)
    await using next = await connectAgent(mesh.hub(1), { id: 'a1', session: old.session })
    await old.closed
    expect(await next.next('message')).toMatchObject({ payload: 2, attempt: 2 })
    expect(await next.next('message')).toMatchObject({ payload: 3, attempt: 2 })
    await sender.request(queryFrame('a1', 4))
    expect(await next.next('message')).toMatchObject({ payload: 4, attempt: 1 })
  })

  it('three at once leave exactly one', async () => {
    await using mesh = await startMesh(core, 2)
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    const sockets = await Promise.all([0, 1, 0].map((hub) => openSocket(mesh.hub(hub))))
    const answers = await Promise.all(
      sockets.map((socket) => socket.answer(hello('a1', { session: old.session }))),
    )
    const welcomed = sockets.filter((_, i) => answers[i]?.type === 'welcome')
    expect(welcomed).toHaveLength(1)
    for (const answer of answers) if (answer.type === 'error') expect(answer.error.code).toBe('agent_taken')
    await old.closed
    await welcomed[0]?.roundTrip()
    for (const socket of sockets) await socket.cut()
  })
})

describe.each(CORES)('without proof on %s', (core) => {
  it.each(['the same hub', 'another hub'])(
    'a holder that answers on %s keeps its id, asked at most once in 10 s',
    async (where) => {
      await using mesh = await startMesh(core, 2)
      await using holder = await connectAgent(mesh.hub(0), { id: 'a1', autoPong: false })
      const answered = holder.next('ping').then(() => holder.send({ type: 'pong' }))
      await using socket = await openSocket(mesh.hub(where === 'another hub' ? 1 : 0))
      const error = await socket.refusal(hello('a1'))
      expect(error).toMatchObject({ code: 'agent_taken', retryable: true, retryAfterMs: expect.any(Number) })
      expect(error.message).toContain('"a1"')
      await answered
      // Refused by what is known of the probe before: the holder, which would not answer now, is not asked.
      for (let i = 0; i < 5; i++)
        expect(await socket.refusal(hello('a1'))).toMatchObject({ code: 'agent_taken' })
      expect(await socket.refusal(hello('a1', { session: 'guessed' }))).toMatchObject({ code: 'agent_taken' })
      await holder.roundTrip()
      expect(holder.waitingOf('ping')).toEqual([])
      // The newcomer may go on as somebody else.
      expect(await socket.answer(hello('a2'))).toMatchObject({ type: 'welcome' })
    },
  )

  it('a newcomer that has gone while a silent holder was asked takes nothing over', async () => {
    await using mesh = await startMesh(core, 2, { heartbeatIntervalMs: 3_000, heartbeatTimeoutMs: 5_000 })
    await using holder = await connectAgent(mesh.hub(0), { id: 'a1', autoPong: false })
    await using newcomer = await openSocket(mesh.hub(1))
    newcomer.send({ ref: 1, ...hello('a1') })
    await holder.next('ping')
    await newcomer.cut()
    // The next ping is the heartbeat's, when the time for an answer to the first one is long over.
    await holder.next('ping', () => true, 6_000)
    await holder.request(queryFrame('a1', 'still here'))
    expect(await holder.next('message')).toMatchObject({ payload: 'still here' })
  })

  it('a holder that answers by any frame keeps its id', async () => {
    await using hub = await startTestHub(core)
    await using holder = await connectAgent(hub, { id: 'a1', autoPong: false })
    const answered = holder.next('ping').then(() => holder.send({ type: 'ack', ids: [] }))
    await using socket = await openSocket(hub)
    expect(await socket.refusal(hello('a1'))).toMatchObject({ code: 'agent_taken' })
    await answered
  })

  it('a holder that hangs loses to the newcomer after 2 s, on its own hub and on another one', async () => {
    await using mesh = await startMesh(core, 2)
    const begun = Date.now()
    await Promise.all(
      [0, 1].map(async (hub) => {
        const id = `a${hub}`
        await using holder = await connectAgent(mesh.hub(0), { id })
        holder.pause()
        await using next = await connectAgent(mesh.hub(hub), { id })
        expect(next.welcome).toMatchObject({ resumed: true, agent: { connected: true } })
        holder.resume()
        expect(await holder.closed).toMatchObject({ code: 4409 })
        await next.roundTrip()
      }),
    )
    expect(Date.now() - begun).toBeGreaterThanOrEqual(1_800)
    expect(Date.now() - begun).toBeLessThan(6_000)
  })

  it('an id that no connection holds goes to whoever knows it, with its inbox', async () => {
    await using hub = await startTestHub(core, { graceMs: 60_000 })
    await using sender = await connectAgent(hub, { id: 'a2' })
    await using observer = await watch(hub)
    await using holder = await connectAgent(hub, { id: 'a1' })
    await holder.cut()
    await observer.next('event', (event) => event.event === 'agent.updated' && !event.agent.connected)
    await sender.request(queryFrame('a1', 'waits'))
    await using next = await connectAgent(hub, { id: 'a1' })
    expect(next.welcome).toMatchObject({ resumed: true, pending: 1 })
    expect(await next.next('message')).toMatchObject({ payload: 'waits', attempt: 1 })
  })
})

/** Two hubs of which the first hears nothing from the other while `deaf` is set. */
async function startWithDeafHub(core: (typeof CORES)[number]): Promise<Mesh & { deaf: boolean }> {
  const state = { deaf: false }
  const wrap = (one: Core, index: number): Core => {
    if (index !== 0) return one
    const subscribe: Core['bus']['subscribe'] = (namespace, hub, onSignal, onGap) =>
      one.bus.subscribe(
        namespace,
        hub,
        (signal: Signal) => (state.deaf ? undefined : onSignal(signal)),
        onGap,
      )
    return {
      kind: one.kind,
      registry: one.registry,
      sends: one.sends,
      inboxes: one.inboxes,
      broadcasts: one.broadcasts,
      queues: one.queues,
      deadLetters: one.deadLetters,
      leases: one.leases,
      problems: () => one.problems(),
      bus: {
        lossy: true,
        subscribe,
        publish: (namespace, hub, signal) => one.bus.publish(namespace, hub, signal),
      },
      close: () => one.close(),
    }
  }
  return Object.assign(state, await startMesh(core, 2, {}, wrap))
}

describe.each(CORES)('a session whose hub has not heard that it is over, on %s', (core) => {
  it('sends nothing more: nothing is stored, the send stays open, and it is closed 4409', async () => {
    await using mesh = await startWithDeafHub(core)
    await using receiver = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    mesh.deaf = true
    await using next = await connectAgent(mesh.hub(1), { id: 'a1', session: old.session })
    const refusals = await Promise.all([
      old.refusal(queryFrame('b1', 'of the old one')),
      old.refusal({ ...queryFrame('b1', 'of the old one'), to: { all: true } }),
    ])
    for (const error of refusals) expect(error).toMatchObject({ code: 'store_unavailable', retryable: true })
    expect(await old.closed).toMatchObject({ code: 4409 })
    await next.request(queryFrame('b1', 'of the new one'))
    expect(await receiver.next('message')).toMatchObject({ payload: 'of the new one', from: 'a1' })
    expect(receiver.waitingOf('message')).toEqual([])
  })

  it('updates nothing more', async () => {
    await using mesh = await startWithDeafHub(core)
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    mesh.deaf = true
    await using next = await connectAgent(mesh.hub(1), { id: 'a1', session: old.session })
    old.send({ type: 'update', ref: 9, capabilities: ['stolen'] })
    expect(await old.closed).toMatchObject({ code: 4409 })
    expect(await next.request({ type: 'update', metrics: { load: 1 } })).toMatchObject({
      agent: { capabilities: ['nlp'] },
    })
  })

  it('still acknowledges: its acks count', async () => {
    await using mesh = await startWithDeafHub(core)
    await using sender = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using old = await connectAgent(mesh.hub(0), { id: 'a1' })
    await sender.request(queryFrame('a1', 'done'))
    await sender.request(queryFrame('a1', 'not done'))
    const done = await old.next('message')
    await old.next('message')
    mesh.deaf = true
    await using next = await connectAgent(mesh.hub(1), { id: 'a1', session: old.session })
    expect(next.welcome.pending).toBe(2)
    old.send({ type: 'ack', ids: [done.id] })
    await expect.poll(() => inboxLength(mesh, 'a1')).toBe(1)
    await using last = await connectAgent(mesh.hub(1), { id: 'a1', session: next.session })
    expect(await last.next('message')).toMatchObject({ payload: 'not done' })
  })

  it('takes the agent with it neither by bye nor by its end', async () => {
    await using mesh = await startWithDeafHub(core)
    await using observer = await watch(mesh.hub(1))
    for (const farewell of ['bye', 'cut'] as const) {
      const id = `a-${farewell}`
      await using old = await connectAgent(mesh.hub(0), { id })
      mesh.deaf = true
      await using next = await connectAgent(mesh.hub(1), { id, session: old.session })
      if (farewell === 'bye') await old.request({ type: 'bye' })
      await old.cut()
      mesh.deaf = false
      await using _marker = await connectAgent(mesh.hub(0), { id: `marker-${farewell}` })
      await observer.next(
        'event',
        (event) => event.event === 'agent.registered' && event.agentId === `marker-${farewell}`,
      )
      for (const event of observer.waitingOf('event')) {
        if (!('agent' in event) || event.agentId !== id) continue
        expect(event.event).not.toBe('agent.unregistered')
        if (event.event === 'agent.updated')
          expect(event.agent).toMatchObject({ connected: true, hub: mesh.hub(1).id })
      }
      await next.roundTrip()
    }
  })
})

describe.each(CORES)('a name on %s', (core) => {
  it('of an agent that is not offline is name_taken: connected, degraded, or within its grace', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: 60_000 })
    await using observer = await watch(mesh.hub(0))
    await using holder = await connectAgent(mesh.hub(0), { id: 'a1', name: 'tester' })
    await using socket = await openSocket(mesh.hub(1))
    const other = { type: 'hello', protocol: 1, agent: { id: 'a2', name: 'tester', capabilities: ['nlp'] } }
    const error = await socket.refusal(other)
    expect(error).toMatchObject({ code: 'name_taken', retryable: true })
    expect(error.message).toContain('"tester"')
    await holder.request({ type: 'update', status: 'degraded' })
    expect(await socket.refusal(other)).toMatchObject({ code: 'name_taken' })
    await holder.cut()
    await observer.next('event', (event) => event.event === 'agent.updated' && !event.agent.connected)
    expect(await socket.refusal(other)).toMatchObject({ code: 'name_taken' })
    // Names differ in case.
    await using upper = await connectAgent(mesh.hub(1), { id: 'a3', name: 'Tester' })
    expect(upper.welcome.agent).toMatchObject({ name: 'Tester' })
  })

  it('is refused before the id is taken over', async () => {
    await using hub = await startTestHub(core)
    await using named = await connectAgent(hub, { id: 'a1', name: 'tester' })
    await using holder = await connectAgent(hub, { id: 'a2', name: 'holder' })
    await using socket = await openSocket(hub)
    const agent = { id: 'a2', name: 'tester', capabilities: ['nlp'] }
    expect(
      await socket.refusal({ type: 'hello', protocol: 1, session: holder.session, agent }),
    ).toMatchObject({ code: 'name_taken' })
    for (const undisturbed of [named, holder]) await undisturbed.roundTrip()
  })

  it('of an offline agent goes to the newcomer, and its holder is unregistered, its inbox dead-lettered', async () => {
    await using mesh = await startMesh(core, 2)
    await using sender = await connectAgent(mesh.hub(0), { id: 'b1' })
    await using holder = await connectAgent(mesh.hub(0), { id: 'a1', name: 'tester' })
    await holder.request({ type: 'bye', keep: true })
    const { id } = await sender.request<{ id: string }>(queryFrame('a1', 'never read'))
    await using observer = await watch(mesh.hub(0))
    await using newcomer = await connectAgent(mesh.hub(1), { id: 'a2', name: 'tester' })
    expect(newcomer.welcome).toMatchObject({ resumed: false, pending: 0 })
    const inOrder = ['agent.unregistered', 'agent.registered']
    for (const kind of inOrder) {
      const event = await observer.next('event', (one) => one.event !== 'message.dead_lettered')
      expect(event).toMatchObject({ event: kind, agentId: kind === 'agent.registered' ? 'a2' : 'a1' })
    }
    expect(await observer.next('event')).toMatchObject({
      event: 'message.dead_lettered',
      messageId: id,
      agentId: 'a1',
      reason: 'unregistered',
    })
    expect(await sender.refusal(queryFrame('a1'))).toMatchObject({ code: 'unknown_target' })
    await sender.request({ ...queryFrame(''), to: { name: 'tester' }, payload: 'by name' })
    expect(await newcomer.next('message')).toMatchObject({ payload: 'by name' })
    // The holder is a new agent when it comes back, and needs another name.
    await using back = await openSocket(mesh.hub(0))
    const agent = { id: 'a1', name: 'tester', capabilities: ['nlp'] }
    expect(await back.refusal({ type: 'hello', protocol: 1, agent })).toMatchObject({ code: 'name_taken' })
    expect(await back.hello({ agent: { ...agent, name: 'tester-2' } })).toMatchObject({ resumed: false })
  })
})
