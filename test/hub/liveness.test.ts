import { describe, expect, it } from 'vitest'
import { connectAgent, openSocket } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { queryFrame } from '../support/talk.ts'
import { watchEvents, nextEvent, kindsOf } from '../support/watching.ts'

const QUICK = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 100 }

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
    await using observer = await watchEvents(hub)
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
    await using observer = await watchEvents(hub, ['agent.heartbeat'])
    await using other = await watchEvents(hub)
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
    await using observer = await watchEvents(mesh.hub(1), ['agent.heartbeat'])
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
