import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { ChangeResult } from '../../src/core/registry.ts'
import {
  eventsOf,
  join,
  kindsOf,
  leave,
  listen,
  NS,
  sendOf,
  store,
  toAgent,
  type CoreFactory,
  type Joined,
} from '../support/core.ts'
import { claimOne, heldIds, storeWork } from '../support/work.ts'

const FENCED = { outcome: 'fenced' }

const reclaim = (core: Core, { sender }: Joined, hub = sender.hub): Promise<ChangeResult> =>
  core.registry.reclaim(NS, { agentId: sender.agentId, fence: sender.fence, hub })

/** What the port `Registry` says of sessions that were lost and are not. */
export function reclaimSuite({ openCore, openPair }: CoreFactory): void {
  describe('taking back a session that counts as lost', () => {
    test('makes it live again: connected, with its fence, and no grace that runs out', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice')
      await join(one, 'bob')
      await leave(two, alice, { graceMs: 0 })
      expect(await store(one, sendOf(alice.sender, toAgent('bob'), 'm'))).toMatchObject({ outcome: 'fenced' })
      const ears = await listen(two, 'hub-2')
      const events = eventsOf(await reclaim(one, alice))
      expect(kindsOf(events)).toEqual(['agent.updated'])
      expect(events[0]?.agent?.state).toMatchObject({
        connected: true,
        hub: alice.sender.hub,
        status: 'online',
      })
      expect(await ears.hear(({ kind }) => kind === 'event')).toMatchObject({ event: { agentId: 'alice' } })
      expect(await store(one, sendOf(alice.sender, toAgent('bob'), 'm'))).toMatchObject({ outcome: 'stored' })
      expect(await one.registry.due(NS, 10)).toEqual([])
      expect(await one.registry.expire(NS, 'alice')).toEqual([])
      expect(await one.registry.sessionsOf(NS, alice.sender.hub)).toContainEqual({
        agentId: 'alice',
        fence: alice.fence,
      })
    })

    test('makes an agent that is offline by now online, and a leader where there is none', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice, { graceMs: 0 })
      await expect.poll(() => core.registry.due(NS, 10)).toEqual(['alice'])
      expect(kindsOf(await core.registry.expire(NS, 'alice'))).toEqual([
        'agent.status_changed',
        'leader.changed',
      ])
      const events = eventsOf(await reclaim(core, alice))
      expect(kindsOf(events)).toEqual(['agent.updated', 'agent.status_changed', 'leader.changed'])
      expect(events.at(-1)).toMatchObject({ leader: 'alice' })
    })

    test('changes nothing where it is live, and does nothing on another hub', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      expect(await reclaim(core, alice)).toEqual({ outcome: 'changed', events: [] })
      expect(await reclaim(core, alice, 'hub-2')).toEqual(FENCED)
    })

    test('is refused where another session has the agent, or none at all', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, alice)
      const later = await join(core, 'alice')
      expect(await reclaim(core, alice)).toEqual(FENCED)
      await leave(core, later, { departure: 'unregister' })
      expect(await reclaim(core, later)).toEqual(FENCED)
    })

    test('lets the agent work on with what it held while its grace lasted', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await storeWork(core, alice, ['t1'])
      await claimOne(core, alice)
      await leave(core, alice)
      await reclaim(core, alice)
      expect(await heldIds(core, 'alice')).toEqual(['t1'])
    })
  })
}
