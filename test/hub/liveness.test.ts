import { describe, expect, it } from 'vitest'
import { NEVER_MS, registerRequest } from '../support/core.ts'
import {
  connectAgent,
  connectObserver,
  type IncomingOf,
  openSocket,
  type TestSocket,
} from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { queryFrame } from '../support/talk.ts'

const QUICK = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 100 }

async function watch(hub: { readonly url: string }, events?: readonly string[]): Promise<TestSocket> {
  const observer = await connectObserver(hub)
  await observer.request({ type: 'subscribe', events })
  return observer
}

type Event = IncomingOf<'event'>
const nextEvent = (observer: TestSocket, kind: Event['event']): Promise<Event> =>
  observer.next('event', ({ event }) => event === kind)

/** Kinds of all events that came and nobody asked for. */
const kindsOf = (observer: TestSocket): string[] => observer.waitingOf('event').map(({ event }) => event)

describe('ping', () => {
  it('comes when nothing was heard for the interval, and who does not answer is closed 4002', async () => {
    await using hub = await startTestHub('memory', QUICK)
    await using silent = await connectAgent(hub, { id: 'a1', autoPong: false })
    const begun = Date.now()
    await silent.next('ping')
    const pingedMs = Date.now() - begun
    expect(pingedMs).toBeGreaterThan(60)
    expect(await silent.closed).toMatchObject({ code: 4002 })
    const closedMs = Date.now() - begun
    expect(closedMs).toBeGreaterThanOrEqual(180)
    expect(closedMs).toBeLessThan(3_000)
    expect(silent.waitingOf('ping')).toEqual([])
  })

  it('comes to observers too', async () => {
    await using hub = await startTestHub('memory', QUICK)
    await using observer = await openSocket(hub, { autoPong: false })
    await observer.hello()
    await observer.next('ping')
    expect(await observer.closed).toMatchObject({ code: 4002 })
  })

  it('that is answered by pong, or by any frame, keeps the connection', async () => {
    await using hub = await startTestHub('memory', QUICK)
    await using ponging = await connectAgent(hub, { id: 'a1', autoPong: false })
    await using acking = await connectAgent(hub, { id: 'a2', autoPong: false })
    await using asking = await connectAgent(hub, { id: 'a3', autoPong: false })
    for (let i = 0; i < 5; i++) {
      // Each answers only when it is pinged, five times over: 500 ms, while silence for 200 ms is the end.
      const answers = [
        [ponging, { type: 'pong' }],
        [acking, { type: 'ack', ids: [] }],
        [asking, { type: 'leader', ref: i }],
      ] as const
      await Promise.all(answers.map(([agent, frame]) => agent.next('ping').then(() => agent.send(frame))))
    }
    for (const agent of [ponging, acking, asking]) await agent.roundTrip()
  })

  it('comes also to one that talks all the time, when the hub had nothing to say', async () => {
    await using hub = await startTestHub('memory', QUICK)
    await using talking = await connectAgent(hub, { id: 'a1', autoPong: false })
    const timer = setInterval(() => talking.send({ type: 'ack', ids: [] }), 20)
    try {
      for (let i = 0; i < 3; i++) await talking.next('ping')
      await talking.roundTrip()
    } finally {
      clearInterval(timer)
    }
  })

  it('comes also to one that is talked to all the time and says nothing, and it is closed 4002', async () => {
    await using hub = await startTestHub('memory', QUICK)
    await using talking = await connectAgent(hub, { id: 'a1' })
    await using silent = await connectAgent(hub, { id: 'a2', autoPong: false })
    const timer = setInterval(() => talking.send({ ref: 1, ...queryFrame('a2') }), 20)
    try {
      await silent.next('ping')
      expect(await silent.closed).toMatchObject({ code: 4002 })
      expect(silent.waitingOf('message').length).toBeGreaterThan(3)
    } finally {
      clearInterval(timer)
    }
  })

  it('of a client is answered pong, in order with what it asked before', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw('{"type":"leader","ref":1}\n{"type":"ping"}\n{"type":"leader","ref":2}')
    expect((await agent.nextWhere(() => true)).type).toBe('ok')
    expect(await agent.nextWhere(() => true)).toEqual({ type: 'pong' })
    expect((await agent.nextWhere(() => true)).type).toBe('ok')
  })
})

describe.each(CORES)('pong on %s', (core) => {
  it('registers the status and reason it carries', async () => {
    await using hub = await startTestHub(core)
    await using observer = await watch(hub)
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.send({ type: 'pong', status: 'degraded', statusReason: 'GPU lost' })
    expect(await nextEvent(observer, 'agent.status_changed')).toMatchObject({
      agentId: 'a1',
      old: 'online',
      new: 'degraded',
      agent: { status: 'degraded', statusReason: 'GPU lost' },
    })
    agent.send({ type: 'pong', statusReason: 'GPU melted' })
    expect(await nextEvent(observer, 'agent.updated')).toMatchObject({
      agent: { status: 'degraded', statusReason: 'GPU melted' },
    })
    // Nothing new, nothing told.
    const before = observer.waitingOf('event').length
    agent.send({ type: 'pong', status: 'degraded', statusReason: 'GPU melted' })
    agent.send({ type: 'pong' })
    agent.send({ type: 'pong', status: 'online', statusReason: '' })
    expect(await nextEvent(observer, 'agent.status_changed')).toMatchObject({
      old: 'degraded',
      new: 'online',
      agent: { status: 'online', statusReason: null },
    })
    expect(observer.waitingOf('event')).toHaveLength(before)
  })

  it('makes one agent.heartbeat for who asked for it by name, with the metrics, and no revision', async () => {
    await using hub = await startTestHub(core)
    await using agent = await connectAgent(hub, { id: 'a1' })
    await using observer = await watch(hub, ['agent.heartbeat'])
    await using other = await watch(hub)
    const { revision } =
      (await observer.request<{ agent: unknown; revision: number }>({ type: 'subscribe' })) ?? {}
    agent.send({ type: 'pong', metrics: { load: 0.5, queue: 3 } })
    agent.send({ type: 'pong' })
    agent.send({ type: 'pong', metrics: { load: 0.75 } })
    const beats = [await nextEvent(observer, 'agent.heartbeat'), await nextEvent(observer, 'agent.heartbeat')]
    beats.push(await nextEvent(observer, 'agent.heartbeat'))
    expect(beats).toMatchObject([
      { agentId: 'a1', revision, agent: { metrics: { load: 0.5, queue: 3 } } },
      { agentId: 'a1', revision, agent: { metrics: { load: 0.5, queue: 3 } } },
      { agentId: 'a1', revision, agent: { metrics: { load: 0.75 } } },
    ])
    for (const beat of beats) if ('agent' in beat) expect(beat.agent.lastHeartbeat).toBe(beat.at)
    await other.roundTrip()
    expect(kindsOf(other)).toEqual([])
    const { agents } = await other.request<{ agents: readonly object[] }>({ type: 'discover' })
    expect(agents).toMatchObject([{ id: 'a1', metrics: { load: 0.75 } }])
  })

  it('is heard on other hubs by who asked for heartbeats', async () => {
    await using mesh = await startMesh(core, 2, QUICK)
    await using agent = await connectAgent(mesh.hub(0), { id: 'a1' })
    await using observer = await watch(mesh.hub(1), ['agent.heartbeat'])
    // The other hub learns that heartbeats are wanted when it learns: one of the next pongs tells.
    const timer = setInterval(() => agent.send({ type: 'pong', metrics: { load: 2 } }), 50)
    try {
      const beat = await observer.next('event', (one) => 'agent' in one && one.agent.metrics.load === 2)
      expect(beat).toMatchObject({ event: 'agent.heartbeat', agentId: 'a1' })
    } finally {
      clearInterval(timer)
    }
  })
})

describe.each(CORES)('a lost connection on %s', (core) => {
  it('is not connected at once, offline after the grace, unregistered after the retention', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: 150, retentionMs: 200 })
    await using observer = await watch(mesh.hub(1), ['agent.*', 'message.dead_lettered'])
    await using sender = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using agent = await connectAgent(mesh.hub(0), { id: 'a1' })
    const { id } = await sender.request<{ id: string }>(queryFrame('a1', 'unread'))
    await agent.next('message')
    await agent.cut()
    const lost = await observer.next('event', (one) => one.event === 'agent.updated' && one.agentId === 'a1')
    expect(lost).toMatchObject({ agent: { connected: false, status: 'online' } })
    const offline = await nextEvent(observer, 'agent.status_changed')
    expect(offline).toMatchObject({
      agentId: 'a1',
      old: 'online',
      new: 'offline',
      agent: { connected: false },
    })
    expect(Date.parse(offline.at) - Date.parse(lost.at)).toBeGreaterThanOrEqual(149)
    // An inbox goes on filling while its agent is offline.
    await sender.request(queryFrame('a1', 'unread too'))
    const gone = await nextEvent(observer, 'agent.unregistered')
    expect(gone).toMatchObject({ agentId: 'a1' })
    expect(Date.parse(gone.at) - Date.parse(offline.at)).toBeGreaterThanOrEqual(199)
    expect(await nextEvent(observer, 'message.dead_lettered')).toMatchObject({
      messageId: id,
      agentId: 'a1',
      reason: 'retention',
    })
    expect(await nextEvent(observer, 'message.dead_lettered')).toMatchObject({
      agentId: 'a1',
      reason: 'retention',
    })
    expect(await sender.refusal(queryFrame('a1'))).toMatchObject({ code: 'unknown_target' })
  })

  it('that is back within the grace keeps its status: nobody hears of offline', async () => {
    await using hub = await startTestHub(core, { graceMs: NEVER_MS })
    await using observer = await watch(hub)
    await using agent = await connectAgent(hub, { id: 'a1' })
    await agent.request({ type: 'update', status: 'degraded', statusReason: 'warming up' })
    await nextEvent(observer, 'agent.status_changed')
    await agent.cut()
    await observer.next('event', (one) => one.event === 'agent.updated' && !one.agent.connected)
    await using back = await connectAgent(hub, { id: 'a1' })
    expect(back.welcome.agent).toMatchObject({
      status: 'degraded',
      statusReason: 'warming up',
      connected: true,
    })
    await observer.next('event', (one) => one.event === 'agent.updated' && one.agent.connected)
    expect(kindsOf(observer)).not.toContain('agent.status_changed')
  })

  it('that is back after the grace is online again, its degradation forgotten', async () => {
    await using hub = await startTestHub(core, { graceMs: 0 })
    await using observer = await watch(hub)
    await using agent = await connectAgent(hub, { id: 'a1' })
    await agent.request({ type: 'update', status: 'degraded', statusReason: 'warming up' })
    await agent.cut()
    await observer.next('event', (one) => one.event === 'agent.status_changed' && one.new === 'offline')
    await using back = await connectAgent(hub, { id: 'a1' })
    expect(back.welcome.agent).toMatchObject({ status: 'online', statusReason: null })
    expect(
      await observer.next('event', (one) => one.event === 'agent.status_changed' && one.old === 'offline'),
    ).toMatchObject({
      new: 'online',
    })
  })

  it('of an ephemeral agent unregisters it after the grace, without being offline first', async () => {
    await using hub = await startTestHub(core, { graceMs: 50 })
    await using observer = await watch(hub)
    await using agent = await connectAgent(hub, { id: 'a1', ephemeral: true })
    await agent.cut()
    await nextEvent(observer, 'agent.unregistered')
    expect(kindsOf(observer)).not.toContain('agent.status_changed')
  })

  it('leaves the inbox as it was, whatever was not acknowledged coming again', async () => {
    await using hub = await startTestHub(core, { graceMs: 0 })
    await using observer = await watch(hub)
    await using sender = await connectAgent(hub, { id: 'b1' })
    await using agent = await connectAgent(hub, { id: 'a1' })
    for (const payload of [1, 2]) await sender.request(queryFrame('a1', payload))
    agent.send({ type: 'ack', ids: [(await agent.next('message')).id] })
    await agent.next('message')
    await agent.cut()
    await observer.next('event', (one) => one.event === 'agent.status_changed' && one.new === 'offline')
    await sender.request(queryFrame('a1', 3))
    await using back = await connectAgent(hub, { id: 'a1' })
    expect(back.welcome).toMatchObject({ resumed: true, pending: 2 })
    expect(await back.next('message')).toMatchObject({ payload: 2, attempt: 2 })
    expect(await back.next('message')).toMatchObject({ payload: 3, attempt: 1 })
  })
})

describe.each(CORES)('a hub that dies on %s', (core) => {
  it('leaves its agents not connected when its lease has run out, and offline after the grace of hubs', async () => {
    await using mesh = await startMesh(core, 1, { hubLeaseMs: 500, hubGraceMs: 200, graceMs: NEVER_MS })
    const store = await mesh.store()
    await using observer = await watch(mesh.hub(0))
    // A hub that registers an agent and is never heard of again.
    await store.leases.renew('hub-dead', ['default'])
    const orphan = registerRequest('a1', { hub: 'hub-dead', fields: { name: 'orphan' } })
    await store.registry.register('default', orphan)
    expect(await nextEvent(observer, 'agent.registered')).toMatchObject({
      agent: { hub: 'hub-dead', connected: true },
    })
    const lost = await nextEvent(observer, 'agent.updated')
    expect(lost).toMatchObject({ agentId: 'a1', agent: { connected: false, status: 'online' } })
    const offline = await nextEvent(observer, 'agent.status_changed')
    expect(offline).toMatchObject({ agentId: 'a1', new: 'offline' })
    expect(Date.parse(offline.at) - Date.parse(lost.at)).toBeGreaterThanOrEqual(199)
  })
})

describe.each(CORES)('bye on %s', (core) => {
  it('unregisters at once, answers ok and closes 1000; the inbox is dead-lettered', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: NEVER_MS })
    await using observer = await watch(mesh.hub(1), ['agent.*', 'message.dead_lettered'])
    await using sender = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using agent = await connectAgent(mesh.hub(0), { id: 'a1' })
    const { id } = await sender.request<{ id: string }>(queryFrame('a1'))
    await agent.next('message')
    expect(await agent.request({ type: 'bye' })).toEqual({})
    expect(await agent.closed).toMatchObject({ code: 1000 })
    expect(await nextEvent(observer, 'agent.unregistered')).toMatchObject({ agentId: 'a1' })
    expect(await nextEvent(observer, 'message.dead_lettered')).toMatchObject({
      messageId: id,
      agentId: 'a1',
      reason: 'unregistered',
    })
    expect(await sender.refusal(queryFrame('a1'))).toMatchObject({ code: 'unknown_target' })
  })

  it('with keep is offline at once, registration and inbox kept', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: NEVER_MS })
    await using observer = await watch(mesh.hub(1))
    await using sender = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using agent = await connectAgent(mesh.hub(0), { id: 'a1', groups: ['eu'] })
    await sender.request(queryFrame('a1', 'pushed'))
    await agent.next('message')
    expect(await agent.request({ type: 'bye', keep: true })).toEqual({})
    expect(await agent.closed).toMatchObject({ code: 1000 })
    expect(await nextEvent(observer, 'agent.status_changed')).toMatchObject({
      agentId: 'a1',
      new: 'offline',
      agent: { connected: false },
    })
    await sender.request(queryFrame('a1', 'stored'))
    await using back = await connectAgent(mesh.hub(1), { id: 'a1' })
    expect(back.welcome).toMatchObject({
      resumed: true,
      pending: 2,
      agent: { registeredAt: agent.welcome.agent?.registeredAt },
    })
    expect(await back.next('message')).toMatchObject({ payload: 'pushed', attempt: 2 })
    expect(await back.next('message')).toMatchObject({ payload: 'stored', attempt: 1 })
  })

  it('with keep unregisters an ephemeral agent all the same', async () => {
    await using hub = await startTestHub(core, { graceMs: NEVER_MS })
    await using observer = await watch(hub)
    await using agent = await connectAgent(hub, { id: 'a1', ephemeral: true })
    await agent.request({ type: 'bye', keep: true })
    expect(await nextEvent(observer, 'agent.unregistered')).toMatchObject({ agentId: 'a1' })
  })

  it('acts after all that was sent before it', async () => {
    await using mesh = await startMesh(core, 2)
    await using observer = await watch(mesh.hub(1), ['message.dead_lettered'])
    await using receiver = await connectAgent(mesh.hub(1), { id: 'b1' })
    await using agent = await connectAgent(mesh.hub(0), { id: 'a1' })
    for (const payload of ['acknowledged', 'left']) await receiver.request(queryFrame('a1', payload))
    const done = await agent.next('message')
    const left = await agent.next('message')
    const count = 50
    const sends = Array.from({ length: count }, (_, ref) => ({ ref, ...queryFrame('b1', ref) }))
    const all = [...sends, { type: 'ack', ids: [done.id] }, { type: 'bye', ref: 'bye' }]
    agent.raw(all.map((frame) => JSON.stringify(frame)).join('\n'))
    for (let ref = 0; ref < count; ref++)
      expect(await agent.next('ok')).toMatchObject({ ref, result: { recipients: 1 } })
    expect(await agent.next('ok')).toMatchObject({ ref: 'bye' })
    expect(await agent.closed).toMatchObject({ code: 1000 })
    for (let i = 0; i < count; i++) expect(await receiver.next('message')).toMatchObject({ payload: i })
    // What was acknowledged was processed: only the other one is given up.
    expect(await nextEvent(observer, 'message.dead_lettered')).toMatchObject({ messageId: left.id })
    await observer.roundTrip()
    expect(observer.waitingOf('event')).toEqual([])
  })

  it('is the last: what follows it in the same message is not done', async () => {
    await using hub = await startTestHub(core)
    await using receiver = await connectAgent(hub, { id: 'b1' })
    await using agent = await connectAgent(hub, { id: 'a1' })
    agent.raw(
      `${JSON.stringify({ type: 'bye', ref: 1 })}\n${JSON.stringify({ ref: 2, ...queryFrame('b1') })}`,
    )
    await agent.next('ok', ({ ref }) => ref === 1)
    await agent.closed
    await receiver.request(queryFrame('b1', 'marker'))
    expect(await receiver.next('message')).toMatchObject({ payload: 'marker' })
    expect(receiver.waitingOf('message')).toEqual([])
  })

  it('hands the lead on', async () => {
    await using hub = await startTestHub(core)
    await using first = await connectAgent(hub, { id: 'a1' })
    await using second = await connectAgent(hub, { id: 'a2' })
    await using observer = await watch(hub, ['leader.changed'])
    await first.request({ type: 'bye', keep: true })
    expect(await nextEvent(observer, 'leader.changed')).toMatchObject({ agentId: 'a2', old: 'a1' })
    const { leader } = await second.request<{ leader: { agentId: string; term: number } }>({ type: 'leader' })
    expect(leader.agentId).toBe('a2')
    expect(leader.term).toBeGreaterThan(first.welcome.leader.term)
  })
})
