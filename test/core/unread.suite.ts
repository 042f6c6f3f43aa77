import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Reading, Unread } from '../../src/core/inboxes.ts'
import { fill, join, leave, NS, toAgent, toAll, type CoreFactory } from '../support/core.ts'
import { claimOne, holdOf, joinBoss, storeWork } from '../support/work.ts'

const reading = (agentId: string, inbox = 0, replies = 0): Reading => ({ agentId, inbox, replies })

/** What is unread of `alice`, who has read so far. */
async function unreadOf(core: Core, inbox: number, replies = 0): Promise<Unread | undefined> {
  const found = await core.inboxes.unread(NS, [reading('alice', inbox, replies)])
  expect(found.length).toBeLessThan(2)
  return found[0]
}

const INBOX = { agentId: 'alice', inbox: true, replies: false, work: false }
const REPLIES = { agentId: 'alice', inbox: false, replies: true, work: false }
const WORK = { agentId: 'alice', inbox: false, replies: false, work: true }

/** What the port `Inboxes` says of those who may have missed something. */
export function unreadSuite({ openCore, openPair }: CoreFactory): void {
  describe('looking for what sessions have missed', () => {
    test('an agent is found while a lane has an entry above what was read of it', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      expect(await unreadOf(two, 0)).toBeUndefined()
      await fill(one, sender, toAgent('alice'), ['m1', 'm2'])
      expect(await unreadOf(two, 0)).toEqual(INBOX)
      expect(await unreadOf(two, 1)).toEqual(INBOX)
      expect(await unreadOf(two, 2)).toBeUndefined()
      await fill(one, sender, toAgent('alice', 'replies'), ['r1'])
      expect(await unreadOf(two, 2)).toEqual(REPLIES)
      expect(await unreadOf(two, 2, 1)).toBeUndefined()
      expect(await unreadOf(two, 1)).toEqual({ ...INBOX, replies: true })
    })

    test('what was settled is not unread, wherever it lies', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1', 'm2', 'm3', 'm4'])
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1, 4] }])
      expect(await unreadOf(core, 2)).toEqual(INBOX)
      expect(await unreadOf(core, 3)).toBeUndefined()
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [2, 3] }])
      expect(await unreadOf(core, 0)).toBeUndefined()
      expect(await unreadOf(core, 4)).toBeUndefined()
      await fill(core, sender, toAgent('alice'), ['m5'])
      expect(await unreadOf(core, 4)).toEqual(INBOX)
    })

    test('a rejected broadcast is unread in the inbox', async () => {
      const core = await openCore()
      const { fence } = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await fill(core, bob.sender, toAll(), ['b1'])
      expect(await unreadOf(core, 0)).toBeUndefined()
      const rejection = { agentId: 'alice', fence, number: 1, requeue: true, delayMs: 0, reason: null }
      await core.broadcasts.reject(NS, rejection)
      expect(await unreadOf(core, 0)).toEqual(INBOX)
    })

    test('an agent is found while it holds work', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      const alice = await join(core, 'alice')
      await join(core, 'alice2')
      await storeWork(core, boss, ['m1', 'm2'])
      expect(await unreadOf(core, 0)).toBeUndefined()
      const task = await claimOne(core, alice)
      expect(
        await core.inboxes.unread(
          NS,
          ['alice2', 'alice', 'boss'].map((id) => reading(id)),
        ),
      ).toEqual([WORK])
      await core.queues.settle(NS, [holdOf(task)])
      expect(await unreadOf(core, 0)).toBeUndefined()
    })

    test('a lane that is gone is unread for who has read of it', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice'), ['m1', 'm2'])
      await leave(core, alice, { departure: 'unregister' })
      expect(await unreadOf(core, 0)).toBeUndefined()
      expect(await unreadOf(core, 2)).toEqual(INBOX)
      expect(await unreadOf(core, 0, 1)).toEqual(REPLIES)
      const again = await join(core, 'alice')
      expect(await unreadOf(core, 0)).toBeUndefined()
      expect(await unreadOf(core, 2)).toEqual(INBOX)
      await fill(core, again.sender, toAgent('alice'), ['m1'])
      expect(await unreadOf(core, 0)).toEqual(INBOX)
    })

    test('many are looked at by one call, and answered in the order they were named', async () => {
      const core = await openCore()
      const ids = Array.from({ length: 300 }, (_, i) => `agent-${i}`)
      const joined = await Promise.all(ids.map((id) => join(core, id)))
      const [first] = joined
      if (!first) throw new Error('nobody joined')
      for (const id of ['agent-7', 'agent-299', 'agent-0']) await fill(core, first.sender, toAgent(id), ['m'])
      await fill(core, first.sender, toAgent('agent-70', 'replies'), ['r'])
      const found = await core.inboxes.unread(
        NS,
        ids.map((id) => reading(id)),
      )
      expect(found.map(({ agentId }) => agentId)).toEqual(['agent-0', 'agent-7', 'agent-70', 'agent-299'])
      expect(await core.inboxes.unread(NS, [])).toEqual([])
    })

    test('nothing of another namespace is seen, and nobody is found where nothing is', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      expect(await core.inboxes.unread('elsewhere', [reading('alice')])).toEqual([])
      expect(await core.inboxes.unread(NS, [reading('nobody')])).toEqual([])
    })

    test('looking changes nothing', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      const before = await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      await unreadOf(core, 0)
      await unreadOf(core, 0)
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual(before)
    })
  })
}
