import { describe, expect, test } from 'vitest'
import {
  fill,
  eventsOf,
  join,
  kindsOf,
  leave,
  listen,
  NEVER_MS,
  NS,
  toAgent,
  type CoreFactory,
} from '../support/core.ts'

/** Snapshots, events and what comes due: the other half of the port `Registry`. */
export function registryWatchSuite({ openCore, openPair }: CoreFactory): void {
  describe('what the store tells', () => {
    test('a namespace begins with its first snapshot: the first change follows that revision', async () => {
      const [one, two] = await openPair()
      const before = Date.now()
      const { epoch, revision, ...empty } = await one.registry.snapshot(NS)
      expect(empty).toEqual({ agents: [], leader: null, term: 0, beats: new Map() })
      expect(revision).toBeGreaterThanOrEqual((before - 1) * 1000)
      expect(await two.registry.snapshot(NS)).toEqual({ epoch, revision, ...empty })
      expect(await two.registry.since(NS, revision, 10)).toEqual({ events: [], complete: true })
      const { events } = await join(one, 'alice')
      expect(events[0]?.revision).toBe(revision + 1)
      expect(await two.registry.since(NS, revision, 10)).toEqual({ events, complete: true })
    })

    test('a snapshot has every agent as its latest event told it', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice')
      const bob = await join(one, 'bob')
      const [event] = eventsOf(await leave(one, bob))
      const { agents, leader } = await two.registry.snapshot(NS)
      expect(agents.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
        alice.events[0]?.agent,
        event?.agent,
      ])
      expect(leader).toBe('alice')
    })

    test('since gives the events after a revision, at most so many', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice')
      const bob = await join(one, 'bob')
      const carol = await join(one, 'carol')
      const after = alice.events.at(-1)?.revision ?? 0
      const all = [...bob.events, ...carol.events]
      expect(await two.registry.since(NS, after, 100)).toEqual({ events: all, complete: true })
      expect(await two.registry.since(NS, after, 1)).toEqual({ events: bob.events, complete: true })
      expect(await two.registry.since(NS, carol.fence, 100)).toEqual({ events: [], complete: true })
    })

    test('since says where events are not kept any more or lie in the future', async () => {
      const core = await openCore({ eventsMax: 2 })
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      const bob = await join(core, 'bob', { fields: { leaderEligible: false } })
      expect(await core.registry.since(NS, alice.fence, 10)).toMatchObject({ complete: true })
      await join(core, 'carol', { fields: { leaderEligible: false } })
      expect(await core.registry.since(NS, alice.fence, 10)).toMatchObject({ complete: true })
      await join(core, 'dave', { fields: { leaderEligible: false } })
      expect(await core.registry.since(NS, alice.fence, 10)).toMatchObject({ complete: false })
      expect(await core.registry.since(NS, bob.fence, 10)).toMatchObject({ complete: true })
      expect(await core.registry.since(NS, bob.fence + 1000, 10)).toMatchObject({ complete: false })
      expect(await core.registry.since(NS, 812, 10)).toMatchObject({ complete: false })
    })

    test('eventsMax 0 keeps every event', async () => {
      const core = await openCore({ eventsMax: 0 })
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await join(core, 'carol')
      expect((await core.registry.since(NS, alice.fence, 10)).events).toHaveLength(3)
    })

    test('sessionsOf names the live sessions of one hub with their fences', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, await join(core, 'bob'))
      await join(core, 'carol', { hub: 'hub-2' })
      expect(await core.registry.sessionsOf(NS, 'hub-1')).toEqual([{ agentId: 'alice', fence: alice.fence }])
    })

    test('every hub hears every event as the one that made it', async () => {
      const [one, two] = await openPair()
      const [here, there] = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      const alice = await join(one, 'alice')
      const left = eventsOf(await leave(one, alice, { departure: 'unregister' }))
      const expected = [...alice.events, ...left].map((event) => ({ kind: 'event', event }))
      const isEvent = ({ kind }: { kind: string }): boolean => kind === 'event'
      const last = expected.at(-1)?.event.revision
      for (const ears of [here, there]) {
        await ears.hear((signal) => signal.kind === 'event' && signal.event.revision === last)
        expect(ears.signals.filter(isEvent)).toEqual(expected)
      }
    })

    test('each event tells the leader and term in force after it', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const term = alice.events[1]?.revision
      expect(alice.events).toMatchObject([
        { event: 'agent.registered', leader: null, term: 0 },
        {
          event: 'leader.changed',
          agentId: 'alice',
          agent: null,
          old: null,
          new: null,
          leader: 'alice',
          term,
        },
      ])
      expect((await join(core, 'bob')).events).toMatchObject([{ leader: 'alice', term }])
    })
  })

  describe('the time an agent is away', () => {
    const stepMs = 40

    test('nothing is due before its time, and then expire does nothing', async () => {
      const core = await openCore()
      await leave(core, await join(core, 'alice'))
      expect(await core.registry.due(NS, 10)).toEqual([])
      expect(await core.registry.expire(NS, 'alice')).toEqual([])
      expect(await core.registry.expire(NS, 'nobody')).toEqual([])
    })

    test('an agent is offline after the grace period, once', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice', { fields: { leaderEligible: false } })
      await leave(one, alice, { graceMs: stepMs })
      await expect.poll(() => two.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
      const [event, ...more] = await two.registry.expire(NS, 'alice')
      expect(event).toMatchObject({ event: 'agent.status_changed', old: 'online', new: 'offline' })
      expect((event?.at ?? 0) - (alice.events[0]?.at ?? 0)).toBeGreaterThanOrEqual(stepMs)
      expect(more).toEqual([])
      expect(await one.registry.expire(NS, 'alice')).toEqual([])
      expect(await one.registry.due(NS, 10)).toEqual([])
    })

    test('an agent that comes back within the grace period is not due', async () => {
      const core = await openCore()
      await leave(core, await join(core, 'alice'), { graceMs: 1 })
      await join(core, 'alice')
      await leave(core, await join(core, 'bob'), { graceMs: stepMs })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['bob'])
      expect(await core.registry.expire(NS, 'alice')).toEqual([])
    })

    test('an ephemeral agent is unregistered after the grace period', async () => {
      const core = await openCore()
      const tab = await join(core, 'tab', { fields: { ephemeral: true, leaderEligible: false } })
      await fill(core, tab.sender, toAgent('tab'), ['m1'])
      await leave(core, tab, { graceMs: 1 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['tab'])
      expect(kindsOf(await core.registry.expire(NS, 'tab'))).toEqual(['agent.unregistered'])
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', reason: 'unregistered' },
      ])
    })

    test('an agent is unregistered after the retention period offline, its lanes dead-lettered', async () => {
      const core = await openCore({ retentionMs: stepMs })
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      await fill(core, alice.sender, toAgent('alice'), ['m1'])
      await fill(core, alice.sender, toAgent('alice', 'replies'), ['r1'])
      await leave(core, alice, { departure: 'keep' })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
      expect(kindsOf(await core.registry.expire(NS, 'alice'))).toEqual(['agent.unregistered'])
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead.map(({ messageId, reason }) => [messageId, reason])).toEqual([
        ['m1', 'retention'],
        ['r1', 'retention'],
      ])
      expect(await core.registry.due(NS, 10)).toEqual([])
    })

    test('the retention period begins when the agent goes offline', async () => {
      const core = await openCore({ retentionMs: 1 })
      await leave(core, await join(core, 'alice', { fields: { leaderEligible: false } }), { graceMs: 1 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
      expect(kindsOf(await core.registry.expire(NS, 'alice'))).toEqual(['agent.status_changed'])
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
      expect(kindsOf(await core.registry.expire(NS, 'alice'))).toEqual(['agent.unregistered'])
    })

    test('retentionMs 0 keeps offline agents for ever', async () => {
      const core = await openCore({ retentionMs: 0 })
      await leave(core, await join(core, 'alice'), { departure: 'keep' })
      await leave(core, await join(core, 'bob'), { graceMs: 1 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['bob'])
    })

    test('due names at most so many', async () => {
      const core = await openCore()
      for (const id of ['alice', 'bob', 'carol']) await leave(core, await join(core, id), { graceMs: 0 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toHaveLength(3)
      expect(await core.registry.due(NS, 2)).toHaveLength(2)
    })

    test('a second lost connection does not lengthen the grace period', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice, { graceMs: 1 })
      await leave(core, alice, { graceMs: NEVER_MS })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
    })
  })
}
