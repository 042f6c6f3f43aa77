import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import {
  frame,
  join,
  leave,
  NS,
  registerRequest,
  sendOf,
  store,
  toAgent,
  type CoreFactory,
} from '../support/core.ts'

const SIZE = Buffer.byteLength(frame('m1'))

/** How a new agent fares. */
const tryJoin = async (core: Core, agentId: string, name = agentId): Promise<string> =>
  (await core.registry.register(NS, registerRequest(agentId, { fields: { name } }))).outcome

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
