import { describe, expect, test } from 'vitest'
import type { Event } from '../../protocol/pushes.ts'
import type { LeaderInfo, LeaderResult } from '../../protocol/replies.ts'
import type { HubServer } from '../../src/server.ts'
import { connectObserver, type TestAgent, type TestSocket } from '../support/agent.ts'
import {
  discoverAll,
  join,
  PLACES,
  pushed,
  read,
  reconnect,
  send,
  sendRefused,
  startSpan,
} from '../support/talk.ts'

const leaderOf = async (socket: TestSocket): Promise<LeaderInfo> =>
  (await socket.request<LeaderResult>({ type: 'leader' })).leader

type Election = Extract<Event, { event: 'leader.changed' }>

/** A watcher of elections. */
async function watchLeader(hub: HubServer): Promise<TestAgent> {
  const socket = await connectObserver(hub)
  await socket.request({ type: 'subscribe', events: ['leader.changed'] })
  return socket
}

const election = async (watcher: TestSocket): Promise<Election> => (await watcher.next('event')) as Election

describe.each(PLACES)('the leader, on %s with %i hub(s)', (core, hubs) => {
  test('is nobody where nobody is; term 0', async () => {
    await using mesh = await startSpan(core, hubs)
    await using observer = await connectObserver(mesh.near)
    expect(observer.welcome.leader).toEqual({ agentId: null, term: 0 })
    expect(await leaderOf(observer)).toEqual({ agentId: null, term: 0 })
  })

  test('is the first eligible agent, told by welcome, leader, AgentInfo and event alike, on every hub', async () => {
    await using mesh = await startSpan(core, hubs)
    await using watcher = await watchLeader(mesh.far)
    await using alice = await join(mesh.near, 'alice')
    const { leader } = alice.welcome
    expect(leader).toEqual({ agentId: 'alice', term: expect.any(Number) })
    expect(alice.welcome.agent?.isLeader).toBe(true)
    const event = await election(watcher)
    expect(event).toMatchObject({ event: 'leader.changed', ...leader, old: null })
    expect(event.revision).toBe(event.term)
    await using bob = await join(mesh.far, 'bob')
    expect(bob.welcome.leader).toEqual(leader)
    expect(bob.welcome.agent?.isLeader).toBe(false)
    for (const socket of [alice, bob, watcher]) expect(await leaderOf(socket)).toEqual(leader)
    const infos = await discoverAll(bob)
    expect(infos.map(({ id, isLeader }) => [id, isLeader])).toEqual([
      ['alice', true],
      ['bob', false],
    ])
  })

  test('stays although an elder one comes back, and although it registers again itself', async () => {
    await using mesh = await startSpan(core, hubs)
    await using watcher = await watchLeader(mesh.near)
    const alice = await join(mesh.near, 'alice')
    const { term } = await election(watcher)
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.near, 'carol')
    await alice.request({ type: 'bye', keep: true })
    const second = await election(watcher)
    expect(second).toMatchObject({ agentId: 'bob', old: 'alice' })
    expect(second.term).toBeGreaterThan(term)
    await using aliceBack = await reconnect(mesh.far, alice)
    await using bobBack = await reconnect(mesh.near, bob)
    expect(bobBack.welcome.leader).toEqual({ agentId: 'bob', term: second.term })
    expect(await leaderOf(aliceBack)).toEqual({ agentId: 'bob', term: second.term })
    expect(watcher.waitingOf('event')).toEqual([])
    // Now the eldest is elected: alice kept her registeredAt.
    await bobBack.request({ type: 'bye' })
    const third = await election(watcher)
    expect(third).toMatchObject({ agentId: 'alice', old: 'bob' })
    expect(third.term).toBeGreaterThan(second.term)
    expect((await leaderOf(carol)).agentId).toBe('alice')
  })

  test('goes when it says bye; who registers anew under its id is young', async () => {
    await using mesh = await startSpan(core, hubs)
    const alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.near, 'carol')
    await alice.request({ type: 'bye' })
    await using anew = await join(mesh.near, 'alice')
    expect(anew.welcome.leader.agentId).toBe('bob')
    await using watcher = await watchLeader(mesh.near)
    await bob.request({ type: 'bye' })
    expect((await election(watcher)).agentId).toBe(carol.id)
  })

  test('leads on through a lost connection until the grace period is over', async () => {
    await using mesh = await startSpan(core, hubs, { graceMs: 400 })
    const alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await using watcher = await watchLeader(mesh.far)
    const { leader } = alice.welcome
    await alice.cut()
    const back = await reconnect(mesh.near, alice)
    expect(back.welcome.leader).toEqual(leader)
    const lostAt = performance.now()
    await back.cut()
    expect(await leaderOf(bob)).toEqual(leader)
    const event = await election(watcher)
    expect(event).toMatchObject({ agentId: 'bob', old: 'alice' })
    expect(event.term).toBeGreaterThan(leader.term)
    expect(performance.now() - lostAt).toBeGreaterThan(390)
  })

  test('goes when it is not eligible any more, and comes of who becomes eligible', async () => {
    await using mesh = await startSpan(core, hubs)
    await using watcher = await watchLeader(mesh.far)
    await using alice = await join(mesh.near, 'alice')
    const first = await election(watcher)
    await using bob = await join(mesh.far, 'bob', { leaderEligible: false })
    await alice.request({ type: 'update', leaderEligible: false })
    const none = await election(watcher)
    // Nobody leads; the term stays.
    expect(none).toMatchObject({ agentId: null, old: 'alice', term: first.term })
    expect(await leaderOf(alice)).toEqual({ agentId: null, term: first.term })
    await bob.request({ type: 'update', leaderEligible: true })
    const second = await election(watcher)
    expect(second).toMatchObject({ agentId: 'bob', old: null })
    expect(second.term).toBeGreaterThan(first.term)
    await alice.request({ type: 'update', leaderEligible: true })
    expect(await leaderOf(alice)).toEqual({ agentId: 'bob', term: second.term })
  })

  test('is not deposed for being degraded; but who is degraded is not elected', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.near, 'carol')
    const { leader } = alice.welcome
    await alice.request({ type: 'update', status: 'degraded', statusReason: 'hot' })
    await bob.request({ type: 'update', status: 'degraded' })
    expect(await leaderOf(alice)).toEqual(leader)
    await alice.request({ type: 'bye' })
    await using watcher = await watchLeader(mesh.near)
    await using late = await join(mesh.far, 'dave')
    expect(late.welcome.leader.agentId).toBe('carol')
    await carol.request({ type: 'bye' })
    expect((await election(watcher)).agentId).toBe('dave')
    await late.request({ type: 'bye' })
    expect((await election(watcher)).agentId).toBeNull()
    await bob.request({ type: 'update', status: 'online' })
    expect((await election(watcher)).agentId).toBe('bob')
  })

  test('is no ephemeral agent unless it says so', async () => {
    await using mesh = await startSpan(core, hubs)
    await using tab = await join(mesh.near, 'tab', { ephemeral: true })
    expect(tab.welcome.leader.agentId).toBeNull()
    await using eager = await join(mesh.far, 'eager', { ephemeral: true, leaderEligible: true })
    expect(eager.welcome.leader.agentId).toBe('eager')
  })

  test('is reached by a message that was on its way while another one was elected', async () => {
    await using mesh = await startSpan(core, hubs)
    await using bob = await join(mesh.far, 'bob', { leaderEligible: false })
    let leader = await join(mesh.near, 'l0')
    for (let i = 1; i <= 5; i++) {
      const next = await join(i % 2 ? mesh.far : mesh.near, `l${i}`)
      await leader.request({ type: 'bye', keep: true })
      // The far hub may not have heard of the election yet.
      expect(await send(bob, { leader: true }, i)).toMatchObject({ recipients: 1 })
      expect(await read(next, 1)).toEqual([i])
      leader = next
    }
    await leader.cut()
  })

  test('changes hands in the same way on every hub, with terms that only grow', async () => {
    await using mesh = await startSpan(core, hubs)
    await using near = await watchLeader(mesh.near)
    await using far = await watchLeader(mesh.far)
    const crowd = await Promise.all(
      Array.from({ length: 8 }, (_, i) => join(i % 2 ? mesh.near : mesh.far, `agent-${i}`)),
    )
    await Promise.all(crowd.map((agent, i) => agent.request({ type: 'bye', keep: i % 3 === 0 })))
    const history = async (watcher: TestSocket): Promise<Election[]> => {
      const elections = [await election(watcher)]
      while (elections.at(-1)?.agentId !== null) elections.push(await election(watcher))
      return elections
    }
    const [seenNear, seenFar] = [await history(near), await history(far)]
    const bare = (elections: Election[]): object[] =>
      elections.map(({ agentId, term, old, revision, at }) => ({ agentId, term, old, revision, at }))
    expect(bare(seenNear)).toEqual(bare(seenFar))
    for (const [i, { term, old, agentId }] of seenNear.entries()) {
      expect(old).toBe(seenNear[i - 1]?.agentId ?? null)
      if (i > 0 && agentId !== null) expect(term).toBeGreaterThan(seenNear[i - 1]?.term ?? 0)
    }
  })
})

describe.each(PLACES)('asLeader, on %s with %i hub(s)', (core, hubs) => {
  const asLeader = (term: number, more: object = {}): object => ({ asLeader: term, ...more })

  test('lets the leader of that term send, to one and to all', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const { term } = alice.welcome.leader
    await send(alice, 'bob', 1, asLeader(term))
    await send(alice, { name: 'bob-name' }, 2, asLeader(term))
    await send(alice, { leader: true }, 'to myself', asLeader(term))
    await send(alice, 'bob', 3, asLeader(term, { ttlMs: 60_000, messageType: 'response' }))
    await send(alice, { all: true }, 4, asLeader(term))
    await send(alice, 'bob', 5, asLeader(term, { durability: 'transient' }))
    expect((await read(bob, 5)).toSorted()).toEqual([1, 2, 3, 4, 5])
    expect(await read(alice, 1)).toEqual(['to myself'])
  })

  test('is refused with stale_term for another term and for who does not lead', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const { term } = alice.welcome.leader
    const targets = [
      { agent: 'alice' },
      { agent: 'bob' },
      { name: 'bob-name' },
      { leader: true },
      { all: true },
    ]
    for (const to of targets) {
      expect(await sendRefused(alice, to, 1, asLeader(term + 1))).toBe('stale_term')
      expect(await sendRefused(alice, to, 1, asLeader(term - 1))).toBe('stale_term')
      expect(await sendRefused(alice, to, 1, asLeader(0))).toBe('stale_term')
      expect(await sendRefused(bob, to, 1, asLeader(term))).toBe('stale_term')
      expect(await sendRefused(bob, to, 1, asLeader(term, { durability: 'transient' }))).toBe('stale_term')
    }
    expect(await pushed(alice, bob)).toEqual([])
    expect(await pushed(bob, alice)).toEqual([])
  })

  test('fences off what a deposed leader still sends, also when it leads again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { producer: 'p1' })
    await using bob = await join(mesh.far, 'bob')
    const { term } = alice.welcome.leader
    await alice.request({ type: 'update', leaderEligible: false })
    expect(await sendRefused(alice, 'bob', 1, asLeader(term, { seq: 1 }))).toBe('stale_term')
    const { term: bobsTerm } = await leaderOf(alice)
    expect(bobsTerm).toBeGreaterThan(term)
    expect(await sendRefused(alice, 'bob', 1, asLeader(bobsTerm))).toBe('stale_term')
    await alice.request({ type: 'update', leaderEligible: true })
    await bob.request({ type: 'update', leaderEligible: false })
    expect(await sendRefused(alice, 'bob', 1, asLeader(term))).toBe('stale_term')
    await using watcher = await connectObserver(mesh.far)
    const again = await leaderOf(watcher)
    expect(again).toMatchObject({ agentId: 'alice' })
    await send(alice, 'bob', 2, asLeader(again.term, { seq: 2 }))
    expect(await pushed(alice, bob)).toEqual([2])
  })
})
