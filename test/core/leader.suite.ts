import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { eventsOf, join, kindsOf, leave, NS, registration, type CoreFactory } from '../support/core.ts'

async function leaderOf(core: Core): Promise<{ leader: string | null; term: number }> {
  const { leader, term } = await core.registry.snapshot(NS)
  return { leader, term }
}

/** Who leads: what the port `Registry` says of elections. */
export function leaderSuite({ openCore }: CoreFactory): void {
  describe('leader', () => {
    test('the first eligible agent leads, with the revision of its election as term', async () => {
      const core = await openCore()
      const { events } = await join(core, 'alice')
      expect(kindsOf(events)).toEqual(['agent.registered', 'leader.changed'])
      expect(await leaderOf(core)).toEqual({ leader: 'alice', term: events[1]?.revision })
    })

    test('an agent that is not eligible is never elected', async () => {
      const core = await openCore()
      await join(core, 'tab', { fields: { leaderEligible: false } })
      expect(await leaderOf(core)).toEqual({ leader: null, term: 0 })
    })

    test('an agent that becomes eligible by an update is elected by the same step', async () => {
      const core = await openCore()
      const tab = await join(core, 'tab', { fields: { leaderEligible: false } })
      const request = { agentId: 'tab', fence: tab.fence, status: null, statusReason: null }
      const update = { ...request, registration: registration('tab') }
      expect(kindsOf(eventsOf(await core.registry.update(NS, update)))).toEqual([
        'agent.updated',
        'leader.changed',
      ])
    })

    test('neither being degraded nor losing the connection nor registering again deposes', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      const before = await leaderOf(core)
      const update = { agentId: 'alice', fence: alice.fence, registration: null, statusReason: null }
      await core.registry.update(NS, { ...update, status: 'degraded' })
      expect(await leaderOf(core)).toEqual(before)
      await leave(core, alice)
      expect(await leaderOf(core)).toEqual(before)
      await join(core, 'alice')
      expect(await leaderOf(core)).toEqual(before)
    })

    test('the eldest follows, of one millisecond the one that came first', async () => {
      const core = await openCore()
      const first = await join(core, 'zoe')
      const others = ['dora', 'bea', 'cleo', 'anna']
      await Promise.all(others.map((id) => join(core, id)))
      const { agents } = await core.registry.snapshot(NS)
      const byOrder = agents.toSorted((a, b) => a.state.order - b.state.order)
      expect(byOrder.map(({ id }) => id)).toEqual(['zoe', ...others])
      const events = eventsOf(await leave(core, first, { departure: 'unregister' }))
      const term = events.at(-1)?.revision
      expect(events.at(-1)).toMatchObject({ event: 'leader.changed', agentId: 'dora', old: 'zoe', term })
      expect(await leaderOf(core)).toEqual({ leader: 'dora', term })
    })

    test('registering again does not make an agent younger', async () => {
      const core = await openCore()
      const first = await join(core, 'zoe')
      const { events } = await join(core, 'yves')
      await expect.poll(() => Date.now(), { interval: 1 }).toBeGreaterThan((events[0]?.at ?? 0) + 2)
      await join(core, 'anna')
      await join(core, 'yves', { proved: true })
      await leave(core, first, { departure: 'unregister' })
      expect((await leaderOf(core)).leader).toBe('yves')
    })

    test('a leader goes when it is offline, and a former one comes back as a follower', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      const { term } = await leaderOf(core)
      expect(kindsOf(eventsOf(await leave(core, alice, { departure: 'keep' })))).toEqual([
        'agent.updated',
        'agent.status_changed',
        'leader.changed',
      ])
      const later = await leaderOf(core)
      expect(later.leader).toBe('bob')
      expect(later.term).toBeGreaterThan(term)
      await join(core, 'alice')
      expect(await leaderOf(core)).toEqual(later)
    })

    test('a leader goes when its grace period is over', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await leave(core, alice, { graceMs: 1 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['alice'])
      expect(kindsOf(await core.registry.expire(NS, 'alice'))).toEqual([
        'agent.status_changed',
        'leader.changed',
      ])
      expect((await leaderOf(core)).leader).toBe('bob')
    })

    test('a leader goes when it is not eligible any more', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      const update = { agentId: 'alice', fence: alice.fence, status: null, statusReason: null }
      const plain = registration('alice', { leaderEligible: false })
      await core.registry.update(NS, { ...update, registration: plain })
      expect((await leaderOf(core)).leader).toBe('bob')
    })

    test('a degraded agent is not elected until it is online', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      const update = { agentId: 'bob', fence: bob.fence, registration: null, statusReason: null }
      await core.registry.update(NS, { ...update, status: 'degraded' })
      await leave(core, alice, { departure: 'unregister' })
      expect((await leaderOf(core)).leader).toBe(null)
      await core.registry.update(NS, { ...update, status: 'online' })
      expect((await leaderOf(core)).leader).toBe('bob')
    })

    test('where nobody qualifies there is no leader, and the term stays', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const { term } = await leaderOf(core)
      const events = eventsOf(await leave(core, alice, { departure: 'unregister' }))
      expect(events[1]).toMatchObject({
        event: 'leader.changed',
        agentId: null,
        old: 'alice',
        leader: null,
        term,
      })
      expect(await leaderOf(core)).toEqual({ leader: null, term })
      await join(core, 'bob')
      expect((await leaderOf(core)).term).toBeGreaterThan(term)
    })
  })
}
