import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import {
  frame,
  join,
  leave,
  NEVER_MS,
  NS,
  registerRequest,
  registration,
  sendOf,
  store,
  toAgent,
  toAll,
  type CoreFactory,
} from '../support/core.ts'

const SIZE = Buffer.byteLength(frame('m1'))

/** How a new agent fares. */
const tryJoin = async (core: Core, agentId: string, name = agentId): Promise<string> =>
  (await core.registry.register(NS, registerRequest(agentId, { fields: { name } }))).outcome

/** How one that lives by heartbeats fares. */
const tryEnrol = async (core: Core, agentId: string, name = agentId, staleMs = NEVER_MS): Promise<string> =>
  (
    await core.registry.enrol(NS, {
      agentId,
      registration: registration(name, { transport: 'http' }),
      door: 'http',
      staleMs,
    })
  ).outcome

const LEAVING = { fence: null, door: 'http', departure: 'unregister', graceMs: 0, marks: null } as const

/** What a namespace may have. */
export function quotasSuite({ openCore, openPair }: CoreFactory): void {
  describe('the agents of a namespace', () => {
    test('are at most so many; those registered come back, and one that goes makes room', async () => {
      const [one, two] = await openPair({ namespaceAgentsMax: 2 })
      const alice = await join(one, 'alice')
      const bob = await join(two, 'bob')
      expect(await tryJoin(one, 'carol')).toBe('full')
      await leave(one, alice)
      expect(await tryJoin(two, 'alice')).toBe('registered')
      expect(await tryJoin(two, 'carol')).toBe('full')
      await leave(one, bob, { departure: 'unregister' })
      expect(await tryJoin(two, 'carol')).toBe('registered')
      expect(await tryJoin(two, 'dave')).toBe('full')
    })

    test('of another namespace do not count', async () => {
      const core = await openCore({ namespaceAgentsMax: 1 })
      await join(core, 'alice')
      await join(core, 'alice', { namespace: 'other' })
      expect(await tryJoin(core, 'bob')).toBe('full')
    })

    test('that are offline count, and give way to one that takes their name', async () => {
      const core = await openCore({ namespaceAgentsMax: 2 })
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await leave(core, alice, { departure: 'keep' })
      expect(await tryJoin(core, 'carol')).toBe('full')
      expect(await tryJoin(core, 'carol', 'alice')).toBe('registered')
      expect(await tryJoin(core, 'alice', 'alice-2')).toBe('full')
    })

    test('are told of a name that is taken rather than of the limit, and nothing changes', async () => {
      const core = await openCore({ namespaceAgentsMax: 1 })
      await join(core, 'alice')
      const { revision } = await core.registry.snapshot(NS)
      expect(await tryJoin(core, 'bob', 'alice')).toBe('name_taken')
      expect(await tryJoin(core, 'bob')).toBe('full')
      expect((await core.registry.snapshot(NS)).revision).toBe(revision)
    })
  })

  describe('agents that live by heartbeats', () => {
    test('count among the agents of a namespace; those registered are refreshed, and one that goes makes room', async () => {
      const [one, two] = await openPair({ namespaceAgentsMax: 2 })
      await join(one, 'alice')
      expect(await tryEnrol(two, 'h1')).toBe('registered')
      const { revision } = await one.registry.snapshot(NS)
      expect(await tryEnrol(one, 'h2')).toBe('full')
      expect(await tryJoin(two, 'bob')).toBe('full')
      expect(await tryEnrol(one, 'h2', 'h1')).toBe('name_taken')
      expect((await one.registry.snapshot(NS)).revision).toBe(revision)
      expect(await tryEnrol(one, 'h1')).toBe('registered')
      await two.registry.leave(NS, { ...LEAVING, agentId: 'h1' })
      expect(await tryEnrol(one, 'h2')).toBe('registered')
    })

    test('give way, while they are offline, to one of their door that takes their name', async () => {
      const core = await openCore({ namespaceAgentsMax: 2 })
      await join(core, 'alice')
      expect(await tryEnrol(core, 'h1', 'h1', 1)).toBe('registered')
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toContain('h1')
      await core.registry.expire(NS, 'h1')
      expect(await tryEnrol(core, 'h2')).toBe('full')
      expect(await tryEnrol(core, 'h2', 'h1')).toBe('registered')
      expect(await tryEnrol(core, 'h1', 'h1-2')).toBe('full')
    })

    test('have inboxes whose bytes count until they acknowledge, or are gone', async () => {
      const core = await openCore({ namespaceInboxBytesMax: 2 * SIZE })
      const { sender } = await join(core, 'alice')
      await tryEnrol(core, 'h1')
      const send = async (to: string, id: string): Promise<string> => {
        const outcome = await store(core, sendOf(sender, toAgent(to), id))
        return outcome.outcome === 'refused' ? outcome.code : outcome.outcome
      }
      const member = { agentId: 'h1', door: 'http' } as const
      expect([await send('h1', 'm1'), await send('h1', 'm2')]).toEqual(['stored', 'stored'])
      expect([await send('h1', 'm3'), await send('alice', 'm3')]).toEqual([
        'quota_exceeded',
        'quota_exceeded',
      ])
      await core.inboxes.acknowledge(NS, member, ['m1', 'm9'])
      await core.inboxes.acknowledge(NS, member, ['m1'])
      expect([await send('alice', 'm3'), await send('alice', 'm4')]).toEqual(['stored', 'quota_exceeded'])
      await core.registry.leave(NS, { ...LEAVING, agentId: 'h1' })
      expect([await send('alice', 'm4'), await send('alice', 'm5')]).toEqual(['stored', 'quota_exceeded'])
    })

    test('get copies of broadcasts, which count and are never refused; what is too much counts until it goes', async () => {
      const core = await openCore({ namespaceInboxBytesMax: SIZE, httpInboxMax: 2 })
      const { sender } = await join(core, 'alice')
      await tryEnrol(core, 'h1')
      const member = { agentId: 'h1', door: 'http' } as const
      const broadcast = async (id: string): Promise<void> => {
        const { outcome } = await store(core, sendOf(sender, toAll(), id))
        // Who gets copies had to be found out first.
        if (outcome === 'moved') await store(core, sendOf(sender, toAll(), id))
      }
      for (const id of ['m1', 'm2', 'm3']) await broadcast(id)
      await core.inboxes.expireAbsent(NS, 10)
      expect(await core.inboxes.peek(NS, member, 10_000)).toHaveLength(2)
      const send = (): Promise<unknown> => store(core, sendOf(sender, toAgent('alice'), 'm4'))
      expect(await send()).toMatchObject({ code: 'quota_exceeded' })
      await core.inboxes.acknowledge(NS, member, ['m2'])
      expect(await send()).toMatchObject({ code: 'quota_exceeded' })
      await core.inboxes.acknowledge(NS, member, ['m3'])
      expect(await send()).toMatchObject({ outcome: 'stored' })
      expect(await send()).toMatchObject({ code: 'quota_exceeded' })
    })
  })

  describe('the bytes in the inboxes of a namespace', () => {
    test('are at most so many, of all agents together; what is settled makes room', async () => {
      const [one, two] = await openPair({ namespaceInboxBytesMax: 2 * SIZE })
      const { sender } = await join(one, 'alice')
      await join(two, 'bob')
      const send = (core: Core, to: string, id: string): Promise<unknown> =>
        store(core, sendOf(sender, toAgent(to), id))
      const refused = { outcome: 'refused', code: 'quota_exceeded', repeated: false }
      expect(await send(one, 'alice', 'm1')).toMatchObject({ outcome: 'stored' })
      expect(await send(two, 'bob', 'm2')).toMatchObject({ outcome: 'stored' })
      expect(await send(one, 'alice', 'm3')).toEqual(refused)
      expect(await send(two, 'bob', 'm3')).toEqual(refused)
      await two.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      // Once more: an acknowledgement whose answer was lost.
      await two.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      expect(await send(one, 'bob', 'm3')).toMatchObject({ outcome: 'stored' })
      expect(await send(one, 'bob', 'm4')).toEqual(refused)
    })

    test('hold one batch to the limit as well, and a refused seq is ended', async () => {
      const core = await openCore({ namespaceInboxBytesMax: 2 * SIZE })
      const { sender } = await join(core, 'alice', { producer: 'p1' })
      const batch = ['m1', 'm2', 'm3'].map((id, index) =>
        sendOf(sender, toAgent('alice'), id, { seq: index + 1 }),
      )
      expect(await core.sends.store(NS, batch)).toMatchObject([
        { outcome: 'stored' },
        { outcome: 'stored' },
        { outcome: 'refused', code: 'quota_exceeded', repeated: false },
      ])
      expect(await core.sends.store(NS, batch.slice(2))).toMatchObject([
        { outcome: 'refused', code: 'quota_exceeded', repeated: true },
      ])
    })

    test('do not keep replies back', async () => {
      const core = await openCore({ namespaceInboxBytesMax: SIZE })
      const { sender } = await join(core, 'alice')
      await store(core, sendOf(sender, toAgent('alice'), 'm1'))
      expect(await store(core, sendOf(sender, toAgent('alice', 'replies'), 'm2'))).toMatchObject({
        outcome: 'stored',
      })
    })
  })
}
