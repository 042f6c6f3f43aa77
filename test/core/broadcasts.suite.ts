import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../protocol/limits.ts'
import type { Core } from '../../src/core/core.ts'
import type { Rejection } from '../../src/core/inboxes.ts'
import {
  fill,
  frame,
  join,
  leave,
  NS,
  sendOf,
  store,
  toAll,
  toAgent,
  type CoreFactory,
} from '../support/core.ts'

const rejectionOf = (number: number, more: Partial<Rejection> = {}): Rejection => ({
  agentId: 'bob',
  number,
  requeue: true,
  delayMs: 0,
  reason: null,
  ...more,
})

/** Which of the log's entries an agent has settled, up to the head. */
async function settledBy(core: Core, agentId: string): Promise<number[]> {
  const { upTo, beyond, head } = await core.broadcasts.open(NS, agentId)
  const settled = new Set(beyond)
  return Array.from({ length: head }, (_, index) => index + 1).filter((n) => n <= upTo || settled.has(n))
}

/** What the port `Broadcasts` says; that entries are added is told in the suite of sends. */
export function broadcastsSuite({ openCore, openPair }: CoreFactory): void {
  describe('reading the log', () => {
    test('entries come in order, after a number, at most so many', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      const { entries, head } = await core.broadcasts.read(NS, 1, 1)
      expect(entries).toMatchObject([{ number: 2, text: frame('b2') }])
      expect(head).toBe(3)
      expect(await core.broadcasts.read(NS, 3, 10)).toEqual({ entries: [], head: 3 })
    })

    test('the log of a namespace without broadcasts is empty', async () => {
      const core = await openCore()
      expect(await core.broadcasts.read(NS, 0, 10)).toEqual({ entries: [], head: 0 })
    })
  })

  describe('cursors', () => {
    test('a cursor starts at the head when its agent registers, and stays while it is away', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await fill(one, sender, toAll(), ['b1', 'b2'])
      const bob = await join(one, 'bob')
      expect(await two.broadcasts.open(NS, 'bob')).toEqual({ upTo: 2, beyond: [], head: 2 })
      await leave(one, bob, { departure: 'keep' })
      await fill(one, sender, toAll(), ['b3'])
      await join(one, 'bob')
      expect(await two.broadcasts.open(NS, 'bob')).toEqual({ upTo: 2, beyond: [], head: 3 })
    })

    test('nobody has a cursor at the head', async () => {
      const core = await openCore()
      expect(await core.broadcasts.open(NS, 'nobody')).toEqual({ upTo: 0, beyond: [], head: 0 })
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(), ['b1'])
      expect(await core.broadcasts.open(NS, 'nobody')).toEqual({ upTo: 1, beyond: [], head: 1 })
    })

    test('what is settled is told by the next opening', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await join(one, 'bob')
      await fill(one, sender, toAll(), ['b1', 'b2', 'b3', 'b4', 'b5'])
      await one.broadcasts.settle(NS, [
        { agentId: 'bob', upTo: 1, beyond: [3, 5] },
        { agentId: 'alice', upTo: 5, beyond: [] },
      ])
      expect(await settledBy(two, 'bob')).toEqual([1, 3, 5])
      expect(await settledBy(two, 'alice')).toEqual([1, 2, 3, 4, 5])
    })

    test('a cursor never goes back, and settling again is safe', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3', 'b4', 'b5'])
      const cursor = { agentId: 'bob', upTo: 2, beyond: [4] }
      await core.broadcasts.settle(NS, [cursor])
      await core.broadcasts.settle(NS, [cursor])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 1, beyond: [] }])
      expect(await settledBy(core, 'bob')).toEqual([1, 2, 4])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 4, beyond: [] }])
      expect(await core.broadcasts.open(NS, 'bob')).toEqual({ upTo: 4, beyond: [], head: 5 })
    })

    test('a cursor beyond the end of the log, from before a loss of data, is ignored', async () => {
      const core = await openCore()
      await join(core, 'bob')
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(), ['b1', 'b2'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 3, beyond: [] }])
      expect(await settledBy(core, 'bob')).toEqual([])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 2, beyond: [] }])
      expect(await settledBy(core, 'bob')).toEqual([1, 2])
    })

    test('a cursor stands behind the last entry settled without a gap', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3', 'b4'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 0, beyond: [2, 4] }])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 1, beyond: [] }])
      expect(await core.broadcasts.open(NS, 'bob')).toEqual({ upTo: 2, beyond: [4], head: 4 })
    })

    test('a cursor may have as many entries beyond it as a window holds', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      const numbers = Array.from({ length: LIMITS.windowMax }, (_, index) => index + 1)
      await fill(
        core,
        sender,
        toAll(),
        numbers.map((number) => `b${number}`),
      )
      const beyond = numbers.slice(1)
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 0, beyond }])
      expect(await core.broadcasts.open(NS, 'bob')).toMatchObject({ upTo: 0, head: numbers.length })
      expect(await settledBy(core, 'bob')).toEqual(beyond)
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 1, beyond: [] }])
      expect(await core.broadcasts.open(NS, 'bob')).toEqual({ upTo: 10_000, beyond: [], head: 10_000 })
    })

    test('cursors of agents that are not registered are ignored', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 9, beyond: [11] }])
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1'])
      expect(await core.broadcasts.open(NS, 'bob')).toEqual({ upTo: 0, beyond: [], head: 1 })
    })
  })

  describe('a log that was cut', () => {
    test('what an agent lost is one record in the dead letters, once', async () => {
      const core = await openCore({ broadcastMax: 2 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3', 'b4', 'b5'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 1, beyond: [4] }])
      expect(await core.broadcasts.open(NS, 'bob')).toMatchObject({ head: 5 })
      expect(await settledBy(core, 'bob')).toEqual([1, 2, 3, 4])
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead).toMatchObject([
        { messageId: null, agentId: 'bob', reason: 'broadcast_log_cut', attempts: 0 },
      ])
      expect(JSON.parse(dead[0]?.text ?? '')).toEqual({ from: 2, to: 3 })
    })

    test('an agent that had settled what was cut lost nothing', async () => {
      const core = await openCore({ broadcastMax: 2 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 0, beyond: [1] }])
      expect(await settledBy(core, 'bob')).toEqual([1])
      expect(await core.deadLetters.list(NS, null, 10)).toEqual([])
    })

    test('broadcastMax 0 cuts nothing', async () => {
      const core = await openCore({ broadcastMax: 0 })
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      expect((await core.broadcasts.read(NS, 0, 10)).entries).toHaveLength(3)
    })
  })

  describe('rejecting a broadcast', () => {
    test("moves the agent's copy to the end of its inbox with one rejection, whatever inboxMax says", async () => {
      const core = await openCore({ inboxMax: 1 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAgent('bob'), ['m1'])
      const expiresAt = Date.now() + 3_600_000
      await store(core, sendOf(sender, toAll(), 'b1', { expiresAt }))
      const before = Date.now()
      expect(await core.broadcasts.reject(NS, rejectionOf(1, { delayMs: 60_000 }))).toEqual({
        outcome: 'requeued',
        number: 2,
        rejections: 1,
      })
      const { entries } = await core.inboxes.read(NS, 'bob', 'inbox', 1, 10)
      expect(entries).toMatchObject([{ number: 2, text: frame('b1'), expiresAt, rejections: 1 }])
      expect(entries[0]?.dueAt).toBeGreaterThanOrEqual(before + 59_999)
      expect(await settledBy(core, 'bob')).toEqual([1])
      expect(await settledBy(core, 'alice')).toEqual([])
    })

    test('a moved one that is rejected again counts on', async () => {
      const core = await openCore({ maxAttempts: 2 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1'])
      expect(await core.broadcasts.reject(NS, rejectionOf(1))).toMatchObject({
        outcome: 'requeued',
        number: 1,
      })
      expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(1))).toEqual({ outcome: 'dead' })
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([{ messageId: 'b1', attempts: 2 }])
    })

    test('without requeue it goes to the dead letters with its reason', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1'])
      const rejection = rejectionOf(1, { requeue: false, reason: 'nonsense' })
      expect(await core.broadcasts.reject(NS, rejection)).toEqual({ outcome: 'dead' })
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'b1', agentId: 'bob', reason: 'nonsense', attempts: 1, text: frame('b1') },
      ])
      expect(await settledBy(core, 'bob')).toEqual([1])
    })

    test('with maxAttempts 1 it goes to the dead letters at once', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1'])
      expect(await core.broadcasts.reject(NS, rejectionOf(1))).toEqual({ outcome: 'dead' })
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { reason: 'max_attempts', attempts: 1 },
      ])
      expect((await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)).entries).toEqual([])
    })

    test('one that is settled, cut off, not there or for nobody is gone', async () => {
      const core = await openCore({ broadcastMax: 2 })
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 0, beyond: [3] }])
      const gone = { outcome: 'gone' }
      for (const number of [1, 3, 4])
        expect(await core.broadcasts.reject(NS, rejectionOf(number))).toEqual(gone)
      expect(await core.broadcasts.reject(NS, rejectionOf(2, { agentId: 'nobody' }))).toEqual(gone)
      expect(await core.broadcasts.reject(NS, rejectionOf(2, { fence: 1 }))).toEqual(gone)
      expect(await core.broadcasts.reject(NS, rejectionOf(2))).toMatchObject({ outcome: 'requeued' })
      expect(await core.broadcasts.reject(NS, rejectionOf(2))).toEqual(gone)
    })
  })

  describe('an agent that is unregistered', () => {
    test('has what it had not settled of the log told by one record', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 1, beyond: [] }])
      await leave(core, bob, { departure: 'unregister' })
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead).toMatchObject([{ messageId: null, agentId: 'bob', reason: 'unregistered' }])
      expect(JSON.parse(dead[0]?.text ?? '')).toEqual({ from: 2, to: 3 })
    })

    test('leaves no record of broadcasts that were not for it', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const toMembersOf = (group: string) =>
        ({ kind: 'members', of: 'group', value: group, echo: false }) as const
      const bob = await join(core, 'bob', { fields: { groups: ['eu'] } })
      await fill(core, sender, toMembersOf('us'), ['b1', 'b2'])
      await fill(core, sender, toMembersOf('eu'), ['b3'])
      await fill(core, sender, toMembersOf('us'), ['b4'])
      await leave(core, bob, { departure: 'unregister' })
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead.map(({ text }) => JSON.parse(text) as unknown)).toEqual([{ from: 3, to: 3 }])
    })

    test('leaves no record when it had settled everything', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await fill(core, sender, toAll(), ['b1', 'b2'])
      await core.broadcasts.reject(NS, rejectionOf(1, { requeue: false }))
      await core.broadcasts.settle(NS, [{ agentId: 'bob', upTo: 0, beyond: [2] }])
      await leave(core, bob, { departure: 'unregister' })
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([{ messageId: 'b1' }])
    })
  })
}
