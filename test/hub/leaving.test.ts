import { describe, expect, it } from 'vitest'
import { NEVER_MS, registerRequest } from '../support/core.ts'
import { connectAgent } from '../support/agent.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { queryFrame } from '../support/talk.ts'
import { watchEvents, nextEvent, kindsOf } from '../support/watching.ts'

describe.each(CORES)('a lost connection on %s', (core) => {
  it('is not connected at once, offline after the grace, unregistered after the retention', async () => {
    await using mesh = await startMesh(core, 2, { graceMs: 150, retentionMs: 200 })
    await using observer = await watchEvents(mesh.hub(1), ['agent.*', 'message.dead_lettered'])
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
    await using observer = await watchEvents(hub)
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
    await using observer = await watchEvents(hub)
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
    await using observer = await watchEvents(hub)
    await using agent = await connectAgent(hub, { id: 'a1', ephemeral: true })
    await agent.cut()
    await nextEvent(observer, 'agent.unregistered')
    expect(kindsOf(observer)).not.toContain('agent.status_changed')
  })

  it('leaves the inbox as it was, whatever was not acknowledged coming again', async () => {
    await using hub = await startTestHub(core, { graceMs: 0 })
    await using observer = await watchEvents(hub)
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
    await using observer = await watchEvents(mesh.hub(0))
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
    await using observer = await watchEvents(mesh.hub(1), ['agent.*', 'message.dead_lettered'])
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
    await using observer = await watchEvents(mesh.hub(1))
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
    await using observer = await watchEvents(hub)
    await using agent = await connectAgent(hub, { id: 'a1', ephemeral: true })
    await agent.request({ type: 'bye', keep: true })
    expect(await nextEvent(observer, 'agent.unregistered')).toMatchObject({ agentId: 'a1' })
  })

  it('acts after all that was sent before it', async () => {
    await using mesh = await startMesh(core, 2)
    await using observer = await watchEvents(mesh.hub(1), ['message.dead_lettered'])
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
    await using observer = await watchEvents(hub, ['leader.changed'])
    await first.request({ type: 'bye', keep: true })
    expect(await nextEvent(observer, 'leader.changed')).toMatchObject({ agentId: 'a2', old: 'a1' })
    const { leader } = await second.request<{ leader: { agentId: string; term: number } }>({ type: 'leader' })
    expect(leader.agentId).toBe('a2')
    expect(leader.term).toBeGreaterThan(first.welcome.leader.term)
  })
})
