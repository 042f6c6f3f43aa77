import { describe, expect, test } from 'vitest'
import type { Event } from '../../protocol/pushes.ts'
import { startHub } from '../../src/server.ts'
import { connectObserver } from '../support/agent.ts'
import { Deafness } from '../support/deafness.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { brief, events, list, update } from '../support/mirror.ts'
import { startRedis } from '../support/redis.ts'
import { discoverAll, join, PLACES, seen, startSpan } from '../support/talk.ts'

describe.each(PLACES)('watching since a revision, on %s with %i hub(s)', (core, hubs) => {
  test('tells only what came after, whatever hub the revision was learned from', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using first = await connectObserver(mesh.near)
    const { revision } = await list(first)
    await update(alice, { groups: ['eu'] })
    await using bob = await join(mesh.near, 'bob')
    await seen(mesh.far, 'bob')
    await using second = await connectObserver(mesh.far)
    const result = await list(second, { since: revision })
    expect(result).toMatchObject({ revision, agents: [], last: true, reset: false })
    expect(await events(second, 2)).toEqual(['updated alice', 'registered bob'])
    await update(bob, { groups: ['us'] })
    const event = await second.next('event')
    expect([brief(event), event.revision]).toEqual(['updated bob', revision + 3])
    await using third = await connectObserver(mesh.far)
    expect(await list(third, { since: revision + 3 })).toMatchObject({ agents: [], reset: false })
    await update(bob, { groups: [] })
    expect((await third.next('event')).revision).toBe(revision + 4)
  })

  test('applies where to what it catches up with', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { groups: ['eu'] })
    await using bob = await join(mesh.near, 'bob')
    await using first = await connectObserver(mesh.near)
    const { revision } = await list(first)
    await update(alice, { groups: [] })
    // Of carol and dave the client cannot have known; dave begins to match later.
    await using carol = await join(mesh.near, 'carol')
    await using dave = await join(mesh.near, 'dave')
    await update(dave, { groups: ['eu'] })
    await update(bob, { groups: ['eu'] })
    await seen(mesh.far, 'bob', ({ groups }) => groups.includes('eu'))
    await using second = await connectObserver(mesh.far)
    await list(second, { since: revision, where: { group: 'eu' } })
    expect(await events(second, 3)).toEqual(['updated alice gone', 'updated dave', 'updated bob'])
    await update(carol, { groups: ['eu'] })
    expect(await events(second, 1)).toEqual(['updated carol'])
  })

  test('that is more than eventsMax behind is answered with reset and the list anew', async () => {
    await using mesh = await startSpan(core, hubs, { eventsMax: 5 })
    await using alice = await join(mesh.near, 'alice')
    await using first = await connectObserver(mesh.near)
    const { revision } = await list(first)
    for (let i = 1; i <= 5; i++) await update(alice, { groups: [`g${i}`] })
    await seen(mesh.far, 'alice', ({ groups }) => groups.includes('g5'))
    await using fits = await connectObserver(mesh.far)
    expect(await list(fits, { since: revision })).toMatchObject({ reset: false, agents: [] })
    expect(await events(fits, 5)).toHaveLength(5)
    await using second = await connectObserver(mesh.far)
    const result = await list(second, { since: revision - 1 })
    expect(result).toMatchObject({
      reset: true,
      last: true,
      revision: revision + 5,
      agents: [{ id: 'alice', groups: ['g5'] }],
    })
    await using bob = await join(mesh.near, 'bob')
    expect(await events(second, 1)).toEqual([`registered ${bob.id}`])
  })

  test('that lies in the future is answered with reset and the list anew', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await seen(mesh.far, 'alice')
    await using watcher = await connectObserver(mesh.far)
    const { revision } = await list(watcher)
    expect(await list(watcher, { since: revision + 1_000 })).toMatchObject({
      reset: true,
      agents: [{ id: alice.id }],
      revision,
    })
  })
})

describe.each(CORES)('a hub that is behind, on %s', (core) => {
  test('catches up before it answers who comes with a revision of another hub', async () => {
    const deafness = new Deafness()
    await using mesh = await startMesh(core, 2, {}, (one, index) => (index === 1 ? deafness.wrap(one) : one))
    await using early = await connectObserver(mesh.hub(1))
    await using alice = await join(mesh.hub(0), 'alice')
    await update(alice, { groups: ['eu'] })
    expect(await discoverAll(early)).toEqual([])
    await using ahead = await connectObserver(mesh.hub(0))
    const { revision } = await list(ahead)
    await using watcher = await connectObserver(mesh.hub(1))
    expect(await list(watcher, { since: revision })).toMatchObject({ revision, reset: false, agents: [] })
    expect(await discoverAll(watcher)).toMatchObject([{ id: 'alice', groups: ['eu'] }])
    deafness.listen()
    await update(alice, { groups: [] })
    expect(await watcher.next('event')).toMatchObject({ revision: revision + 1, event: 'agent.updated' })
    expect(watcher.waitingOf('event')).toEqual([])
  })

  test('tells its live subscriptions with reset and the list anew where events are lost', async () => {
    const deafness = new Deafness()
    await using mesh = await startMesh(core, 2, { eventsMax: 5 }, (one, index) =>
      index === 1 ? deafness.wrap(one) : one,
    )
    await using watcher = await connectObserver(mesh.hub(1))
    const { subscription, revision } = await list(watcher, { where: { group: 'g9' } })
    await using alice = await join(mesh.hub(0), 'alice')
    for (let i = 0; i < 4; i++) await (await join(mesh.hub(0), `passer-by-${i}`)).request({ type: 'bye' })
    await update(alice, { groups: ['g9'] })
    deafness.listen()
    // The next event shows that some are missing.
    await update(alice, { metadata: { last: 'one' } })
    const snapshot = await watcher.next('snapshot')
    expect(snapshot).toMatchObject({
      subscription,
      reset: true,
      last: true,
      agents: [{ id: 'alice', groups: ['g9'] }],
    })
    expect(snapshot.revision).toBeGreaterThan(revision)
    await alice.request({ type: 'bye' })
    // Whatever the list had already: from its revision on, none is missing and none comes twice.
    const told: Event[] = []
    while (told.at(-1)?.event !== 'leader.changed') told.push(await watcher.next('event'))
    expect(told.map((event) => event.revision)).toEqual(told.map((_, i) => snapshot.revision + 1 + i))
    expect(told.at(-2)).toMatchObject({ event: 'agent.unregistered' })
  })

  test('fills a gap in the events from the store', async () => {
    const deafness = new Deafness()
    await using mesh = await startMesh(core, 2, {}, (one, index) => (index === 1 ? deafness.wrap(one) : one))
    await using watcher = await connectObserver(mesh.hub(1))
    const { revision } = await list(watcher)
    await using alice = await join(mesh.hub(0), 'alice')
    await update(alice, { groups: ['eu'] })
    deafness.listen()
    await update(alice, { groups: [] })
    const revisions: number[] = []
    while (revisions.length < 4) revisions.push((await watcher.next('event')).revision)
    expect(revisions).toEqual([1, 2, 3, 4].map((i) => revision + i))
  })
})

describe('after a loss of the store', () => {
  test('a since of before is answered with reset; revisions and terms have grown, on memory', async () => {
    const first = await startTestHub('memory')
    const alice = await join(first, 'alice')
    const { revision, leader } = alice.welcome
    await first.close()
    await using second = await startTestHub('memory')
    await using back = await join(second, 'alice')
    expect(back.welcome).toMatchObject({ resumed: false })
    expect(back.welcome.revision).toBeGreaterThan(revision)
    expect(back.welcome.leader.term).toBeGreaterThan(leader.term)
    await using watcher = await connectObserver(second)
    expect(await list(watcher, { since: revision })).toMatchObject({ reset: true, agents: [{ id: 'alice' }] })
  })

  test('a since of before and a live subscription are told reset; revisions and terms have grown, on redis', async () => {
    await using redis = await startRedis()
    await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
    await using watcher = await connectObserver(hub)
    const { subscription } = await list(watcher)
    const alice = await join(hub, 'alice')
    const { revision, leader } = alice.welcome
    expect(await events(watcher, 2)).toEqual(['registered alice', 'leader.changed'])
    await redis.restart()
    const snapshot = await watcher.next('snapshot')
    expect(snapshot).toMatchObject({ subscription, reset: true, last: true, agents: [] })
    expect(snapshot.revision).toBeGreaterThan(revision)
    expect((await alice.closed).code).toBe(4000)
    await using back = await join(hub, 'alice')
    // Those that were there have time to come back before one of them is elected.
    expect(back.welcome.leader.agentId).toBeNull()
    expect(await events(watcher, 2)).toEqual(['registered alice', 'leader.changed'])
    await using other = await connectObserver(hub)
    const listed = await list(other, { since: revision })
    expect(listed).toMatchObject({ reset: true, agents: [{ id: 'alice' }], leader: { agentId: 'alice' } })
    expect(listed.leader.term).toBeGreaterThan(leader.term)
  })
})
