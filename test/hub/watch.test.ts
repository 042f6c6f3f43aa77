import { describe, expect, test } from 'vitest'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { Event } from '../../protocol/pushes.ts'
import type { SubscribeResult } from '../../protocol/replies.ts'
import type { HubServer } from '../../src/server.ts'
import { connectObserver } from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { brief, events, list, mirrorOf, subscribe, update } from '../support/mirror.ts'
import { discoverAll, join, PLACES, reconnect, seen, send, startSpan } from '../support/talk.ts'

const idsOf = (agents: readonly AgentInfo[]): string[] => agents.map(({ id }) => id).toSorted()

describe.each(PLACES)('watching, on %s with %i hub(s)', (core, hubs) => {
  test('begins with the matching agents of every status as of a revision, the watcher among them', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.near, 'bob')
    await bob.request({ type: 'bye', keep: true })
    await using carol = await join(mesh.near, 'carol')
    await update(carol, { status: 'degraded' })
    const result = await list(alice)
    expect(result).toEqual({
      subscription: expect.any(String),
      revision: expect.any(Number),
      agents: await discoverAll(alice),
      last: true,
      reset: false,
      leader: alice.welcome.leader,
    })
    expect(idsOf(result.agents)).toEqual(['alice', 'bob', 'carol'])
    expect(idsOf((await list(alice, { where: { status: ['degraded', 'offline'] } })).agents)).toEqual([
      'bob',
      'carol',
    ])
  })

  test('tells every change as an event with a revision of its own, one after the other', async () => {
    await using mesh = await startSpan(core, hubs, { graceMs: 50 })
    await using watcher = await connectObserver(mesh.far)
    const { revision } = await list(watcher)
    await using alice = await join(mesh.near, 'alice')
    await update(alice, { groups: ['eu'], status: 'degraded', statusReason: 'hot' })
    const bob = await join(mesh.near, 'bob', { leaderEligible: false })
    await bob.cut()
    const found: Event[] = []
    while (found.length < 7) found.push(await watcher.next('event'))
    const back = await reconnect(mesh.near, bob)
    await back.request({ type: 'bye' })
    while (found.length < 10) found.push(await watcher.next('event'))
    expect(found.map(brief)).toEqual([
      'registered alice',
      'leader.changed',
      'updated alice',
      'status_changed alice online>degraded',
      'registered bob',
      'updated bob',
      'status_changed bob online>offline',
      'updated bob',
      'status_changed bob offline>online',
      'unregistered bob',
    ])
    expect(found.map((event) => event.revision)).toEqual(found.map((_, i) => revision + 1 + i))
    const infos = found.flatMap((event) => ('agent' in event ? [event.agent] : []))
    expect(infos[1]).toMatchObject({ groups: ['eu'], status: 'online' })
    expect(infos[2]).toMatchObject({ groups: ['eu'], status: 'degraded', statusReason: 'hot' })
    expect(infos[4]).toMatchObject({ id: 'bob', connected: false, status: 'online' })
    expect(infos[5]).toMatchObject({ id: 'bob', connected: false, status: 'offline' })
    for (const [i, info] of infos.entries())
      expect(info.revision).toBe(found.filter((e) => 'agent' in e)[i]?.revision)
    for (const { at } of found) expect(new Date(at).toISOString()).toBe(at)
  })

  test('tells who stops matching as matches:false, who begins to as updated, and who goes as unregistered', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.near, 'bob', { groups: ['eu'] })
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.far, 'carol')
    await using watcher = await connectObserver(mesh.far)
    const { agents } = await list(watcher, { where: { group: 'eu', status: ['online'] } })
    expect(idsOf(agents)).toEqual(['bob'])
    await update(carol, { metadata: { x: 'not watched' } })
    await update(carol, { groups: ['eu'] })
    await update(carol, { metadata: { x: 'watched' } })
    await update(bob, { status: 'degraded' })
    await update(bob, { statusReason: 'not watched' })
    await update(bob, { status: 'online' })
    await update(bob, { groups: [] })
    await alice.request({ type: 'bye' })
    await carol.request({ type: 'bye' })
    await bob.request({ type: 'bye' })
    const end = await join(mesh.near, 'end', { groups: ['eu'] })
    const found: Event[] = []
    while (found.at(-1) === undefined || brief(found.at(-1) as Event) !== 'registered end')
      found.push(await watcher.next('event'))
    expect(found.map(brief).filter((text) => text !== 'leader.changed')).toEqual([
      'updated carol',
      'updated carol',
      'updated bob gone',
      'updated bob',
      'updated bob gone',
      'unregistered carol',
      'registered end',
    ])
    const gone = found.find((event) => brief(event) === 'updated bob gone')
    expect(gone).toMatchObject({ agent: { id: 'bob', status: 'degraded' }, matches: false })
    await end.cut()
  })

  test('tells only the events asked for; leader.changed whatever where says', async () => {
    await using mesh = await startSpan(core, hubs)
    await using watcher = await connectObserver(mesh.far)
    await list(watcher, { events: ['agent.registered', 'leader.changed'], where: { name: 'bob-name' } })
    const alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.near, 'bob')
    await update(bob, { groups: ['eu'] })
    await alice.request({ type: 'bye' })
    expect(await events(watcher, 3)).toEqual(['leader.changed', 'registered bob', 'leader.changed'])
    await using only = await connectObserver(mesh.far)
    await list(only, { events: ['agent.unregistered'] })
    await using carol = await join(mesh.near, 'carol')
    await bob.request({ type: 'bye' })
    expect(await events(only, 1)).toEqual(['unregistered bob'])
    await carol.request({ type: 'bye' })
    expect(await events(only, 1)).toEqual(['unregistered carol'])
  })

  test('ends with unsubscribe; other subscriptions of the connection go on', async () => {
    await using mesh = await startSpan(core, hubs)
    await using watcher = await connectObserver(mesh.far)
    const first = await list(watcher)
    const second = await list(watcher)
    expect(second.subscription).not.toBe(first.subscription)
    expect(await watcher.request({ type: 'unsubscribe', subscription: first.subscription })).toEqual({})
    await using alice = await join(mesh.near, 'alice')
    const told = [await watcher.next('event'), await watcher.next('event')]
    expect(told.map(({ subscription }) => subscription)).toEqual([second.subscription, second.subscription])
    await update(alice, { groups: ['eu'] })
    expect(await watcher.next('event')).toMatchObject({ subscription: second.subscription })
    for (const subscription of [first.subscription, 'w9']) {
      expect(await watcher.refusal({ type: 'unsubscribe', subscription })).toMatchObject({
        code: 'bad_frame',
      })
    }
  })

  test('sends a long list in pages of at most 256 KiB, complete and without repetition', async () => {
    await using mesh = await startSpan(core, hubs)
    const metadata = { big: 'x'.repeat(14_000) }
    const agents = await Promise.all(
      Array.from({ length: 45 }, (_, i) =>
        join(mesh.near, `agent-${i}`, { metadata, leaderEligible: i === 0 }),
      ),
    )
    await using watcher = await connectObserver(mesh.far)
    // A revision of this hub or not: it catches up before it answers.
    await list(watcher, { since: Math.max(...agents.map(({ welcome }) => welcome.revision)) })
    watcher.send({ type: 'subscribe', ref: 1 })
    // In the same turn, so that it is told behind the last page.
    const late = await join(mesh.near, 'late')
    const ok = await watcher.next('ok')
    const pages = [ok.result as SubscribeResult]
    while (!pages.at(-1)?.last) {
      const page = await watcher.next('snapshot')
      expect(page).toMatchObject({
        subscription: pages[0]?.subscription,
        revision: pages[0]?.revision,
        reset: false,
      })
      pages.push(page)
    }
    expect(pages.length).toBeGreaterThanOrEqual(3)
    for (const page of pages) expect(JSON.stringify(page.agents).length).toBeLessThanOrEqual(262_144)
    const ids = pages.flatMap((page) => page.agents.map(({ id }) => id))
    if (!ids.includes('late'))
      expect(await watcher.next('event')).toMatchObject({ event: 'agent.registered', agentId: 'late' })
    expect(ids.filter((id) => id !== 'late').toSorted()).toEqual(agents.map(({ id }) => id).toSorted())
    await Promise.all([...agents, late].map((agent) => agent.cut()))
  })

  test('is equal to the registry at every revision, on every hub, from wherever it began', async () => {
    await using mesh = await startSpan(core, hubs, { graceMs: 0, eventsMax: 0 })
    const place = (i: number): HubServer => (i % 2 ? mesh.near : mesh.far)
    const mirrors = [await mirrorOf(mesh.near), await mirrorOf(mesh.far)]
    const [whole] = mirrors
    if (!whole) throw new Error('unreachable')
    const start = whole.revision
    /** One agent's restless life. */
    const live = async (index: number): Promise<void> => {
      const id = `agent-${index}`
      for (let round = 0; round < 6; round++) {
        const agent = await join(place(index + round), id, {
          groups: [`g${round % 3}`],
          leaderEligible: index % 3 > 0,
        })
        if (round % 2) await update(agent, { status: 'degraded', metadata: { round: String(round) } })
        if (round % 3 === 0) await agent.request({ type: 'bye' })
        else if (round % 3 === 1) await agent.request({ type: 'bye', keep: true })
        else await (await reconnect(place(index), agent)).request({ type: 'bye', keep: true })
      }
    }
    const lives = Promise.all(Array.from({ length: 6 }, (_, i) => live(i)))
    // Mirrors that begin in the middle of it: with the list, or where another one was.
    for (let i = 0; i < 6; i++) {
      await whole.reach(whole.revision + 12)
      mirrors.push(await mirrorOf(place(i)))
      const since = await mirrorOf(place(i + 1), { since: start })
      mirrors.push(since)
    }
    await lives
    const last = await mirrorOf(mesh.near)
    await Promise.all(mirrors.map((mirror) => mirror.reach(last.revision)))
    const everything = Array.from({ length: last.revision - start }, (_, i) => start + 1 + i)
    expect(whole.revisions).toEqual(everything)
    for (const mirror of mirrors) {
      // None missing, none twice, in order.
      expect(mirror.revisions).toEqual(everything.slice(everything.length - mirror.revisions.length))
      for (const [revision, state] of mirror.states) {
        if (mirror.revisions.length < everything.length || mirrors.indexOf(mirror) < 2)
          expect(state).toBe(whole.states.get(revision))
      }
      expect(mirror.state).toBe(last.state)
      await mirror.socket.cut()
    }
    await last.socket.cut()
  })
})

describe.each(PLACES)('heartbeats, on %s with %i hub(s)', (core, hubs) => {
  test('are told for each pong, with metrics, to who asked for them by name, on every hub', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await seen(mesh.far, 'alice')
    await using watcher = await connectObserver(mesh.far)
    const { revision } = await list(watcher, { events: ['agent.heartbeat'] })
    await using others = await connectObserver(mesh.far)
    await list(others)
    // The hubs tell heartbeats from when they have heard that somebody wants them.
    let load = 0
    await expect
      .poll(
        () => {
          alice.send({ type: 'pong', metrics: { load: (load += 1) } })
          return watcher.waitingOf('event').length
        },
        { interval: 5 },
      )
      .toBeGreaterThan(0)
    const event = await watcher.next('event')
    expect(event).toMatchObject({
      event: 'agent.heartbeat',
      agentId: 'alice',
      revision,
      agent: { id: 'alice', metrics: { load: expect.any(Number) } },
    })
    const told = 'agent' in event ? (event.agent.metrics.load ?? 0) : 0
    alice.send({ type: 'pong', metrics: { load: 100, queue: 2 } })
    const next = await watcher.next('event', (one) => 'agent' in one && one.agent.metrics.load === 100)
    expect(next).toMatchObject({ revision, agent: { metrics: { load: 100, queue: 2 } } })
    // None is left out in between.
    const between = watcher
      .waitingOf('event')
      .flatMap((one) => ('agent' in one ? [one.agent.metrics.load] : []))
    expect(between).toEqual(Array.from({ length: load - told }, (_, i) => told + 1 + i))
    await update(alice, { groups: ['eu'] })
    // agent.* does not mean heartbeats, and heartbeats make no revision.
    const first = await others.next('event')
    expect([brief(first), first.revision]).toEqual(['updated alice', revision + 1])
  })

  test('with a status register it as update does', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await seen(mesh.far, 'alice')
    await using watcher = await connectObserver(mesh.far)
    await list(watcher)
    alice.send({ type: 'pong', status: 'degraded', statusReason: 'GPU lost' })
    expect(await watcher.next('event')).toMatchObject({
      event: 'agent.status_changed',
      old: 'online',
      new: 'degraded',
      agent: { status: 'degraded', statusReason: 'GPU lost' },
    })
    alice.send({ type: 'pong', status: 'degraded', statusReason: 'GPU lost' })
    alice.send({ type: 'pong', status: 'online', statusReason: '' })
    expect(await watcher.next('event')).toMatchObject({
      old: 'degraded',
      new: 'online',
      agent: { statusReason: null },
    })
  })
})

describe.each(CORES)('dead letters and limits, on %s', (core) => {
  test('message.dead_lettered is told to who asked for it by name, without payload', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using watcher = await connectObserver(hub)
    const { subscription, revision } = await list(watcher, { events: ['message.dead_lettered'] })
    await using others = await connectObserver(hub)
    await list(others, { events: ['agent.*', 'leader.changed', 'agent.heartbeat'] })
    const { id } = await send(alice, 'alice', 'secret')
    await alice.next('message')
    alice.send({ type: 'nack', id, requeue: false, reason: 'no' })
    expect(await watcher.next('event')).toEqual({
      type: 'event',
      subscription,
      revision,
      event: 'message.dead_lettered',
      at: expect.any(String),
      messageId: id,
      agentId: 'alice',
      capability: null,
      reason: 'no',
    })
    await others.roundTrip()
    expect(others.waitingOf('event')).toEqual([])
  })

  test('a connection has at most 100 subscriptions; one that ends makes room', async () => {
    await using hub = await startTestHub(core)
    await using watcher = await connectObserver(hub)
    const first = await list(watcher)
    for (let i = 1; i < 100; i++) await list(watcher)
    const error = await watcher.refusal({ type: 'subscribe' })
    expect(error).toMatchObject({ code: 'bad_frame', message: expect.stringContaining('100') })
    await watcher.request({ type: 'unsubscribe', subscription: first.subscription })
    await list(watcher)
  })

  test('a subscribe against a rule is a bad_frame', async () => {
    await using hub = await startTestHub(core)
    await using watcher = await connectObserver(hub)
    for (const wrong of [
      { events: [] },
      { events: ['agent'] },
      { events: 'agent.*' },
      { since: -1 },
      { since: 'now' },
      { where: { version: 'x y' } },
    ]) {
      expect(await watcher.refusal({ type: 'subscribe', ...wrong }), JSON.stringify(wrong)).toMatchObject({
        code: 'bad_frame',
      })
    }
  })

  test('nulls in subscribe are the same as fields left out', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const result = await list(alice, { events: null, where: null, since: null })
    expect(result).toMatchObject({ agents: [{ id: 'alice' }], reset: false })
  })
})

test.each(CORES)(
  'a subscription of a connection that ended costs nothing and disturbs nobody, on %s',
  async (core) => {
    await using hub = await startTestHub(core)
    const gone = await connectObserver(hub)
    await list(gone)
    await gone.cut()
    await using mirrorSocket = await connectObserver(hub)
    const mirror = await subscribe(mirrorSocket)
    await using alice = await join(hub, 'alice')
    await mirror.reach(alice.welcome.revision)
    expect([...mirror.agents.keys()]).toEqual(['alice'])
  },
)
