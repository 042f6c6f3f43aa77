import { describe, expect, test } from 'vitest'
import {
  type CoreFactory,
  join,
  kindsOf,
  leave,
  NEVER_MS,
  NS,
  registerRequest,
  registration,
} from '../support/core.ts'

/** Whose agents and names are: what `RegisterRequest.owner` says. */
export function ownersSuite({ openCore, openPair }: CoreFactory): void {
  describe('owners', () => {
    test('an agent is its first owner’s while it is registered, connected or not, on whatever hub', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'team:1', { owner: 'team' })
      const foreign = registerRequest('team:1', { owner: 'team:1', hub: 'hub-2', proved: true })
      expect(await two.registry.register(NS, foreign)).toEqual({ outcome: 'not_owner' })
      await leave(one, alice, { departure: 'keep' })
      expect(await two.registry.register(NS, foreign)).toEqual({ outcome: 'not_owner' })
      const again = await join(two, 'team:1', { owner: 'team', hub: 'hub-2' })
      expect(again.resumed).toBe(true)
      await leave(two, again, { departure: 'unregister' })
      expect(await join(two, 'team:1', { owner: 'team:1' })).toMatchObject({ resumed: false })
    })

    test('not_owner comes before held, and changes nothing', async () => {
      const core = await openCore()
      await join(core, 'alice', { owner: 'alice' })
      const { revision } = await core.registry.snapshot(NS)
      expect(await core.registry.register(NS, registerRequest('alice', { owner: 'mallory' }))).toEqual({
        outcome: 'not_owner',
      })
      expect((await core.registry.snapshot(NS)).revision).toBe(revision)
    })

    test('the name of an offline agent stays its owner’s until it is unregistered', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice', { owner: 'alice', fields: { name: 'planner' } })
      await leave(one, alice, { departure: 'keep' })
      const fields = { name: 'planner' }
      const taken = { outcome: 'name_taken', holder: 'alice' }
      const foreign = registerRequest('mallory', { owner: 'mallory', fields })
      expect(await two.registry.register(NS, foreign)).toEqual(taken)
      // Another agent of the same owner may have it.
      const second = await join(two, 'alice:2', { owner: 'alice', fields })
      expect(kindsOf(second.events).slice(0, 2)).toEqual(['agent.unregistered', 'agent.registered'])
      await leave(two, second, { departure: 'unregister' })
      await join(two, 'mallory', { owner: 'mallory', fields })
    })

    test('with a retention period that is over, agent and name are free', async () => {
      const core = await openCore({ retentionMs: 1 })
      const alice = await join(core, 'alice', { owner: 'alice', fields: { name: 'planner' } })
      await leave(core, alice, { departure: 'keep' })
      await expect.poll(() => core.registry.due(NS, 10)).toEqual(['alice'])
      await core.registry.expire(NS, 'alice')
      await join(core, 'mallory', { owner: 'mallory', fields: { name: 'planner' } })
      await join(core, 'alice', { owner: 'mallory' })
    })

    test('what was nobody’s becomes its next owner’s, and nobody’s registrations look at no owner', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice, { departure: 'keep' })
      const owned = await join(core, 'alice', { owner: 'alice' })
      await leave(core, owned, { departure: 'keep' })
      const foreign = registerRequest('alice', { owner: 'mallory' })
      expect(await core.registry.register(NS, foreign)).toEqual({ outcome: 'not_owner' })
      await leave(core, await join(core, 'alice'), { departure: 'keep' })
      expect(await core.registry.register(NS, foreign)).toEqual({ outcome: 'not_owner' })
    })

    test.each(['ben', 'ben:1'])(
      '%s goes to whose own id it is from who registered it before, and to nobody else',
      async (id) => {
        const [one, two] = await openPair()
        const enrol = (core: typeof one, owner: string) =>
          core.registry.enrol(NS, {
            agentId: id,
            registration: registration(id.replace(':', '-')),
            door: 'http',
            staleMs: NEVER_MS,
            registeredAt: null,
            owner,
          })
        expect(await enrol(one, 'ann')).toMatchObject({ outcome: 'registered' })
        for (const owner of ['be', 'ben:', 'Ben', 'ben:1:2', 'cid'])
          expect(await enrol(two, owner)).toEqual({ outcome: 'not_owner' })
        expect(await enrol(two, 'ben')).toMatchObject({ outcome: 'registered', resumed: true })
        expect(await enrol(one, 'ann')).toEqual({ outcome: 'not_owner' })
        const ann = { agentId: id, door: 'http', owner: 'ann' } as const
        expect(await one.inboxes.peek(NS, ann, 1_000)).toBe('not_owner')
        expect(await join(two, id, { owner: 'ben', proved: true })).toMatchObject({ resumed: true })
        expect(await enrol(one, 'ann')).toEqual({ outcome: 'not_owner' })
      },
    )

    test('an owner is kept through changes of status and registration', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { owner: 'alice' })
      const change = { agentId: 'alice', fence: alice.fence, registration: null, statusReason: 'busy' }
      await core.registry.update(NS, { ...change, status: 'degraded' })
      await leave(core, alice)
      const foreign = registerRequest('alice', { owner: 'mallory' })
      expect(await core.registry.register(NS, foreign)).toEqual({ outcome: 'not_owner' })
    })
  })
}
