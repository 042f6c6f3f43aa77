import { describe, expect, test } from 'vitest'
import {
  type CoreFactory,
  eventsOf,
  fill,
  join,
  kindsOf,
  leave,
  listen,
  NS,
  registerRequest,
  registration,
  toAgent,
  updateOf,
} from '../support/core.ts'

/** Registering: what the port `Registry` says of one agent. */
export function registrySuite({ openCore, openPair }: CoreFactory): void {
  describe('registering', () => {
    test('a new id is registered, online and connected on its hub', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { hub: 'hub-7' })
      expect(alice).toMatchObject({ resumed: false, displaced: null, pending: 0, producerBase: '' })
      expect(alice.marks).toEqual({ inbox: '', replies: '', broadcasts: '' })
      const [event] = alice.events
      expect(event).toMatchObject({ event: 'agent.registered', agentId: 'alice', old: null, new: null })
      expect(event?.agent).toEqual({
        id: 'alice',
        registration: registration('alice'),
        state: {
          status: 'online',
          statusReason: null,
          connected: true,
          hub: 'hub-7',
          registeredAt: event?.at,
          order: expect.any(Number) as number,
          revision: event?.revision,
        },
      })
    })

    test('the first revision of a namespace is the clock in milliseconds times 1,000', async () => {
      const core = await openCore()
      const before = Date.now()
      const { events } = await join(core, 'alice')
      expect(events[0]?.revision).toBeGreaterThanOrEqual((before - 1) * 1000)
      expect(events[0]?.revision).toBeLessThanOrEqual((Date.now() + 1) * 1000)
      expect((events[0]?.revision ?? 1) % 1000).toBe(0)
    })

    test('revisions count by one over every kind of change', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      const events = [...alice.events, ...bob.events]
      events.push(...eventsOf(await core.registry.update(NS, updateOf(alice, { status: 'degraded' }))))
      events.push(...eventsOf(await leave(core, alice, { departure: 'keep' })))
      events.push(...eventsOf(await leave(core, bob, { departure: 'unregister' })))
      const first = events[0]?.revision ?? 0
      expect(events.map(({ revision }) => revision)).toEqual(events.map((_, index) => first + index))
      expect((await core.registry.snapshot(NS)).revision).toBe(events.at(-1)?.revision)
    })

    test('the fence of a session is the revision of the last event of its agent', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      expect(kindsOf(alice.events)).toEqual(['agent.registered', 'leader.changed'])
      expect(alice.fence).toBe(alice.events[0]?.revision)
      await leave(core, alice, { departure: 'keep' })
      const again = await join(core, 'alice')
      expect(kindsOf(again.events)).toEqual(['agent.updated', 'agent.status_changed', 'leader.changed'])
      expect(again.fence).toBe(again.events[1]?.revision)
    })

    test('an id that registers again keeps registeredAt and is resumed', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice)
      const again = await join(core, 'alice', { hub: 'hub-2', fields: { name: 'alice', version: '2.0.0' } })
      expect(again.resumed).toBe(true)
      expect(kindsOf(again.events)).toEqual(['agent.updated'])
      const record = again.events[0]?.agent
      expect(record?.registration.version).toBe('2.0.0')
      expect(record?.state.hub).toBe('hub-2')
      expect(record?.state.connected).toBe(true)
      expect(record?.state.registeredAt).toBe(alice.events[0]?.agent?.state.registeredAt)
    })

    test('an agent that comes back from offline is updated first and then online', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
      await leave(core, alice, { departure: 'keep' })
      const again = await join(core, 'alice', { fields: { leaderEligible: false } })
      expect(again.events).toMatchObject([
        { event: 'agent.updated' },
        { event: 'agent.status_changed', old: 'offline', new: 'online' },
      ])
      expect(again.events[1]?.agent?.state.status).toBe('online')
    })

    test('a degraded agent that registers again stays degraded', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await core.registry.update(NS, updateOf(alice, { status: 'degraded', statusReason: 'GPU lost' }))
      await leave(core, alice)
      const again = await join(core, 'alice')
      expect(again.events[0]?.agent?.state).toMatchObject({ status: 'degraded', statusReason: 'GPU lost' })
    })

    test('a live session holds its id against a newcomer without proof, and nothing changes', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const before = await core.registry.snapshot(NS)
      const newcomer = registerRequest('alice', { hub: 'hub-2', sessionHash: 'x', proofHash: 'wrong' })
      const { fence } = alice
      expect(await core.registry.register(NS, newcomer)).toEqual({ outcome: 'held', hub: 'hub-1', fence })
      expect(await core.registry.snapshot(NS)).toEqual(before)
    })

    test('the latest session string is proof, an earlier one is not', async () => {
      const core = await openCore()
      const first = await join(core, 'alice', { sessionHash: 'one' })
      const second = await join(core, 'alice', { sessionHash: 'two', proofHash: 'one', hub: 'hub-2' })
      expect(second.displaced).toEqual({ hub: 'hub-1', fence: first.fence })
      expect(second.fence).toBeGreaterThan(first.fence)
      const late = registerRequest('alice', { sessionHash: 'three', proofHash: 'one' })
      expect(await core.registry.register(NS, late)).toMatchObject({ outcome: 'held', hub: 'hub-2' })
    })

    test('a newcomer proved by other means displaces a live session', async () => {
      const core = await openCore()
      const first = await join(core, 'alice')
      const second = await join(core, 'alice', { proved: true })
      expect(second.displaced).toEqual({ hub: 'hub-1', fence: first.fence })
    })

    test('a session that a probe found silent may be displaced, a later one not', async () => {
      const core = await openCore()
      const first = await join(core, 'alice')
      const second = await join(core, 'alice', { silentFence: first.fence })
      expect(second.displaced).toEqual({ hub: 'hub-1', fence: first.fence })
      const late = registerRequest('alice', { silentFence: first.fence })
      expect(await core.registry.register(NS, late)).toMatchObject({ outcome: 'held', fence: second.fence })
    })

    test('an id that no connection holds needs no proof', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice)
      const again = await join(core, 'alice')
      expect(again).toMatchObject({ resumed: true, displaced: null })
    })

    test('the hub that had the agent is told that its session was displaced', async () => {
      const [one, two] = await openPair()
      const ears = await listen(one, 'hub-1')
      const alice = await join(one, 'alice', { hub: 'hub-1' })
      await join(two, 'alice', { hub: 'hub-2', proved: true })
      expect(await ears.hear(({ kind }) => kind === 'displaced')).toEqual({
        kind: 'displaced',
        agentId: 'alice',
        fence: alice.fence,
      })
    })

    test('a name is taken while its holder is not offline, connected or not', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { name: 'planner' } })
      const request = registerRequest('bob', { fields: { name: 'planner' } })
      expect(await core.registry.register(NS, request)).toEqual({ outcome: 'name_taken', holder: 'alice' })
      await leave(core, alice)
      expect(await core.registry.register(NS, request)).toEqual({ outcome: 'name_taken', holder: 'alice' })
      expect((await core.registry.snapshot(NS)).agents.map(({ id }) => id)).toEqual(['alice'])
    })

    test('the name of an offline agent goes to the newcomer, and the holder is unregistered first', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { name: 'planner', leaderEligible: false } })
      await fill(core, alice.sender, toAgent('alice'), ['m1'])
      await leave(core, alice, { departure: 'keep' })
      const bob = await join(core, 'bob', { fields: { name: 'planner', leaderEligible: false } })
      expect(bob.events).toMatchObject([
        { event: 'agent.unregistered', agentId: 'alice' },
        { event: 'agent.registered', agentId: 'bob' },
      ])
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', agentId: 'alice', reason: 'unregistered' },
      ])
    })

    test('an agent that registers again under another name frees its old one', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { name: 'planner' } })
      await leave(core, alice)
      await join(core, 'alice', { fields: { name: 'worker' } })
      expect((await join(core, 'bob', { fields: { name: 'planner' } })).resumed).toBe(false)
    })

    test('a producer has one base, the same on every hub, and no other one has it', async () => {
      const [one, two] = await openPair()
      const first = await join(one, 'alice', { producer: 'p1' })
      expect(first.producerBase).toBe(first.fence.toString(36))
      const other = await join(one, 'alice', { producer: 'p2', proved: true })
      const again = await join(two, 'alice', { producer: 'p1', proved: true, hub: 'hub-2' })
      const bob = await join(one, 'bob', { producer: 'p1' })
      expect(again.producerBase).toBe(first.producerBase)
      expect(new Set([first.producerBase, other.producerBase, bob.producerBase]).size).toBe(3)
    })

    test('of more than eight producers the one not heard of for longest is forgotten', async () => {
      const core = await openCore()
      const bases: string[] = []
      for (let n = 1; n <= 8; n += 1) {
        const { producerBase } = await join(core, 'alice', { producer: `p${n}`, proved: true })
        bases.push(producerBase)
      }
      await join(core, 'alice', { producer: 'p1', proved: true })
      await join(core, 'alice', { producer: 'p9', proved: true })
      expect((await join(core, 'alice', { producer: 'p1', proved: true })).producerBase).toBe(bases[0])
      expect((await join(core, 'alice', { producer: 'p2', proved: true })).producerBase).not.toBe(bases[1])
    })

    test('pending counts the entries of both lanes', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice'), ['m1', 'm2'])
      await fill(core, alice.sender, toAgent('alice', 'replies'), ['r1'])
      await leave(core, alice)
      expect((await join(core, 'alice')).pending).toBe(3)
    })

    test('namespaces know nothing of each other', async () => {
      const core = await openCore()
      await join(core, 'alice', { namespace: 'one' })
      const other = await join(core, 'alice', { namespace: 'two' })
      expect(other.resumed).toBe(false)
      expect((await core.registry.snapshot('one')).agents).toHaveLength(1)
      expect((await core.registry.snapshot('three')).agents).toHaveLength(0)
    })
  })
}
