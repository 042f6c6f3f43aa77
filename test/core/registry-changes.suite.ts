import { describe, expect, test } from 'vitest'
import {
  type CoreFactory,
  eventsOf,
  join,
  kindsOf,
  leave,
  NS,
  registration,
  updateOf,
} from '../support/core.ts'

/** Updating and leaving: what the port `Registry` says of one agent. */
export function registryChangesSuite({ openCore }: CoreFactory): void {
  describe('updating', () => {
    test('a new registration replaces the old one by agent.updated', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const changed = registration('alice', { capabilities: ['vision'], metadata: { team: 'search' } })
      const [event, ...more] = eventsOf(
        await core.registry.update(NS, updateOf(alice, { registration: changed })),
      )
      expect(more).toEqual([])
      expect(event).toMatchObject({ event: 'agent.updated', agent: { registration: changed } })
    })

    test('fields and status make two events, in this order', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const events = eventsOf(
        await core.registry.update(
          NS,
          updateOf(alice, {
            registration: registration('alice'),
            status: 'degraded',
            statusReason: 'GPU lost',
          }),
        ),
      )
      expect(events).toMatchObject([
        { event: 'agent.updated', agent: { state: { status: 'online' } } },
        { event: 'agent.status_changed', old: 'online', new: 'degraded' },
      ])
      expect(events[1]?.agent?.state).toMatchObject({ status: 'degraded', statusReason: 'GPU lost' })
    })

    test('a reason alone makes agent.updated, "" clears it and null leaves it', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const reasons: (string | null | undefined)[] = []
      for (const fields of [
        { statusReason: 'busy' },
        { registration: registration('alice') },
        { statusReason: '' },
      ]) {
        const events = eventsOf(await core.registry.update(NS, updateOf(alice, fields)))
        expect(kindsOf(events)).toEqual(['agent.updated'])
        reasons.push(events[0]?.agent?.state.statusReason)
      }
      expect(reasons).toEqual(['busy', 'busy', null])
    })

    test('what changes nothing makes no event', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const same = updateOf(alice, { status: 'online', statusReason: '' })
      expect(await core.registry.update(NS, same)).toEqual({ outcome: 'changed', events: [] })
    })

    test('a session that is over is fenced and changes nothing', async () => {
      const core = await openCore()
      const displaced = await join(core, 'alice')
      const lost = await join(core, 'alice', { proved: true })
      await leave(core, lost)
      const { revision } = await core.registry.snapshot(NS)
      const unknown = { ...updateOf(lost, { status: 'degraded' }), agentId: 'nobody' }
      for (const request of [
        updateOf(displaced, { status: 'degraded' }),
        updateOf(lost, { status: 'degraded' }),
        unknown,
      ]) {
        expect(await core.registry.update(NS, request)).toEqual({ outcome: 'fenced' })
      }
      expect((await core.registry.snapshot(NS)).revision).toBe(revision)
    })
  })

  describe('leaving', () => {
    test('a lost connection disconnects at once and keeps the status', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const events = eventsOf(await leave(core, alice))
      expect(events).toMatchObject([
        { event: 'agent.updated', agent: { state: { connected: false, status: 'online', hub: 'hub-1' } } },
      ])
      expect(await core.registry.sessionsOf(NS, 'hub-1')).toEqual([])
    })

    test('keep disconnects, and then the agent is offline at once', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      const events = eventsOf(await leave(core, alice, { departure: 'keep' }))
      expect(events).toMatchObject([
        { event: 'agent.updated', agent: { state: { connected: false, status: 'online' } } },
        {
          event: 'agent.status_changed',
          old: 'online',
          new: 'offline',
          agent: { state: { connected: false } },
        },
      ])
    })

    test('keep after a lost connection only ends the grace period', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      await leave(core, alice)
      expect(kindsOf(eventsOf(await leave(core, alice, { departure: 'keep' })))).toEqual([
        'agent.status_changed',
      ])
    })

    test('an agent that goes offline has no reason for its status any more', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await core.registry.update(NS, updateOf(alice, { status: 'degraded', statusReason: 'GPU lost' }))
      const events = eventsOf(await leave(core, alice, { departure: 'keep' }))
      expect(events[1]).toMatchObject({
        old: 'degraded',
        agent: { state: { status: 'offline', statusReason: null } },
      })
      expect((await join(core, 'alice')).events[1]?.agent?.state.statusReason).toBe(null)
    })

    test('keep of an ephemeral agent unregisters it', async () => {
      const core = await openCore()
      const tab = await join(core, 'tab', { fields: { ephemeral: true, leaderEligible: false } })
      expect(kindsOf(eventsOf(await leave(core, tab, { departure: 'keep' })))).toEqual(['agent.unregistered'])
    })

    test('unregister makes one event that tells who it was, and frees id and name', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      const events = eventsOf(await leave(core, alice, { departure: 'unregister' }))
      expect(events).toMatchObject([
        {
          event: 'agent.unregistered',
          agentId: 'alice',
          agent: { id: 'alice', registration: { name: 'alice' } },
        },
      ])
      expect((await core.registry.snapshot(NS)).agents).toEqual([])
      expect((await join(core, 'bob', { fields: { name: 'alice' } })).resumed).toBe(false)
      expect((await join(core, 'alice', { fields: { name: 'other' } })).resumed).toBe(false)
    })

    test('leaving again changes nothing, and the unregistered is fenced', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice)
      expect(await leave(core, alice)).toEqual({ outcome: 'changed', events: [] })
      await leave(core, alice, { departure: 'unregister' })
      expect(await leave(core, alice, { departure: 'unregister' })).toEqual({ outcome: 'fenced' })
    })

    test('an old session cannot end a new one, nobody in particular can', async () => {
      const core = await openCore()
      const old = await join(core, 'alice')
      await join(core, 'alice', { proved: true })
      expect(await leave(core, old, { departure: 'unregister' })).toEqual({ outcome: 'fenced' })
      expect(eventsOf(await leave(core, old, { fence: null, departure: 'unregister' }))[0]).toMatchObject({
        event: 'agent.unregistered',
      })
    })
  })
}
