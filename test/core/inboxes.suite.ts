import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../protocol/limits.ts'
import { attemptOf, parseMarks } from '../../src/core/attempts.ts'
import type { Core } from '../../src/core/core.ts'
import type { Lane, Rejection } from '../../src/core/inboxes.ts'
import { fill, frame, join, leave, NS, sendOf, store, toAgent, type CoreFactory } from '../support/core.ts'

const rejectionOf = (number: number, more: Partial<Rejection> = {}): Rejection => ({
  agentId: 'alice',
  number,
  requeue: true,
  delayMs: 0,
  reason: null,
  ...more,
})

async function numbersOf(core: Core, lane: Lane = 'inbox', after = 0, limit = 100): Promise<number[]> {
  const { entries } = await core.inboxes.read(NS, 'alice', lane, after, limit)
  return entries.map(({ number }) => number)
}

const settle = (
  core: Core,
  numbers: readonly number[],
  lane: Lane = 'inbox',
  agentId = 'alice',
): Promise<void> => core.inboxes.settle(NS, [{ agentId, lane, numbers }])

/** What the port `Inboxes` says. */
export function inboxesSuite({ openCore, openPair }: CoreFactory): void {
  describe('reading', () => {
    test('entries come in order, after a number, at most so many', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await fill(one, sender, toAgent('alice'), ['m1', 'm2', 'm3', 'm4'])
      expect(await numbersOf(two)).toEqual([1, 2, 3, 4])
      expect(await numbersOf(two, 'inbox', 1, 2)).toEqual([2, 3])
      expect(await numbersOf(two, 'inbox', 4)).toEqual([])
    })

    test('the head is the last number given, whatever was settled', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual({ entries: [], head: 0 })
      await fill(core, sender, toAgent('alice'), ['m1', 'm2'])
      expect((await core.inboxes.read(NS, 'alice', 'inbox', 0, 1)).head).toBe(2)
      await settle(core, [1, 2])
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual({ entries: [], head: 2 })
      expect(await store(core, sendOf(sender, toAgent('alice'), 'm3'))).toMatchObject({ number: 3 })
    })

    test('holes are skipped, near and far', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(
        core,
        sender,
        toAgent('alice'),
        Array.from({ length: 50 }, (_, index) => `m${index + 1}`),
      )
      const gone = Array.from({ length: 46 }, (_, index) => index + 2)
      await settle(core, gone)
      expect(await numbersOf(core)).toEqual([1, 48, 49, 50])
      expect(await numbersOf(core, 'inbox', 1, 2)).toEqual([48, 49])
      expect(await numbersOf(core, 'inbox', 48)).toEqual([49, 50])
    })

    test('the lanes are apart', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      await fill(core, sender, toAgent('alice', 'replies'), ['r1', 'r2'])
      await settle(core, [1], 'replies')
      expect(await numbersOf(core)).toEqual([1])
      expect(await numbersOf(core, 'replies')).toEqual([2])
    })

    test('the lanes of nobody are empty', async () => {
      const core = await openCore()
      expect(await core.inboxes.read(NS, 'nobody', 'inbox', 0, 10)).toEqual({ entries: [], head: 0 })
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice'), ['m1'])
      await leave(core, alice, { departure: 'unregister' })
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual({ entries: [], head: 0 })
    })
  })

  describe('settling', () => {
    test('settled entries are gone, for good and on every hub', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await fill(one, sender, toAgent('alice'), ['m1', 'm2', 'm3'])
      await settle(one, [1, 3])
      await settle(one, [1, 3])
      expect(await numbersOf(two)).toEqual([2])
    })

    test('several agents and lanes are settled by one call', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob')
      await fill(core, sender, toAgent('alice'), ['m1'])
      await fill(core, sender, toAgent('alice', 'replies'), ['r1'])
      await fill(core, sender, toAgent('bob'), ['m2'])
      await core.inboxes.settle(NS, [
        { agentId: 'alice', lane: 'inbox', numbers: [1] },
        { agentId: 'bob', lane: 'inbox', numbers: [1] },
        { agentId: 'alice', lane: 'replies', numbers: [1] },
      ])
      expect(await numbersOf(core)).toEqual([])
      expect(await numbersOf(core, 'replies')).toEqual([])
      expect((await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)).entries).toEqual([])
    })

    test('as many entries as a window holds are settled by one call', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const numbers = Array.from({ length: LIMITS.windowMax }, (_, index) => index + 1)
      await fill(
        core,
        sender,
        toAgent('alice'),
        numbers.map((number) => `m${number}`),
      )
      await settle(core, numbers)
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual({
        entries: [],
        head: numbers.length,
      })
    })

    test('unknown entries, lanes and agents are ignored', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      await settle(core, [2, 700])
      await settle(core, [1], 'replies')
      await settle(core, [1], 'inbox', 'nobody')
      await core.inboxes.settle(NS, [])
      expect(await numbersOf(core)).toEqual([1])
    })

    test('an agent that is away may still settle', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await store(core, sendOf(alice.sender, toAgent('alice'), 'm1', { expiresAt: Date.now() - 1 }))
      await leave(core, alice)
      await settle(core, [1])
      expect(await core.inboxes.expireAbsent(NS, 10)).toBe(0)
      expect(await numbersOf(core)).toEqual([])
    })
  })

  describe('rejecting', () => {
    test('a rejected entry keeps its place and counts', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await fill(one, sender, toAgent('alice'), ['m1', 'm2'])
      expect(await one.inboxes.reject(NS, 'inbox', rejectionOf(1))).toEqual({
        outcome: 'requeued',
        number: 1,
        rejections: 1,
      })
      expect(await two.inboxes.reject(NS, 'inbox', rejectionOf(1))).toMatchObject({ rejections: 2 })
      const { entries } = await one.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      expect(entries).toMatchObject([
        { number: 1, text: frame('m1'), rejections: 2 },
        { number: 2, rejections: 0, dueAt: null },
      ])
    })

    test('a delay says when the entry may be pushed again', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      const before = Date.now()
      await core.inboxes.reject(NS, 'inbox', rejectionOf(1, { delayMs: 60_000 }))
      const [entry] = (await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).entries
      expect(entry?.dueAt).toBeGreaterThanOrEqual(before + 59_999)
      expect(entry?.dueAt).toBeLessThanOrEqual(Date.now() + 60_001)
    })

    test('the last rejection allowed gives the entry up, with its reason or max_attempts', async () => {
      const core = await openCore({ maxAttempts: 2 })
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1', 'm2'])
      for (const [number, reason] of [
        [1, null],
        [2, 'too hard'],
      ] as const) {
        expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(number, { reason }))).toMatchObject({
          rejections: 1,
        })
        expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(number, { reason }))).toEqual({
          outcome: 'dead',
        })
      }
      expect(await numbersOf(core)).toEqual([])
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', agentId: 'alice', reason: 'max_attempts', attempts: 2, text: frame('m1') },
        { messageId: 'm2', agentId: 'alice', reason: 'too hard', attempts: 2, text: frame('m2') },
      ])
    })

    test('without requeue the entry is given up at once', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice', 'replies'), ['r1'])
      const rejection = rejectionOf(1, { requeue: false, reason: 'nonsense' })
      expect(await core.inboxes.reject(NS, 'replies', rejection)).toEqual({ outcome: 'dead' })
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'r1', reason: 'nonsense', attempts: 1 },
      ])
    })

    test('maxAttempts 0 never gives up', async () => {
      const core = await openCore({ maxAttempts: 0 })
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      for (let n = 1; n <= 10; n += 1) {
        expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(1))).toMatchObject({ rejections: n })
      }
    })

    test('a session that was taken over rejects nothing', async () => {
      const core = await openCore()
      const { sender, fence } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      const { fence: later } = await join(core, 'alice', { proved: true })
      expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(1, { fence }))).toEqual({ outcome: 'gone' })
      expect((await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).entries).toMatchObject([
        { rejections: 0 },
      ])
      const rejected = await core.inboxes.reject(NS, 'inbox', rejectionOf(1, { fence: later }))
      expect(rejected).toMatchObject({ outcome: 'requeued', rejections: 1 })
    })

    test('what is not there any more is gone', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAgent('alice'), ['m1'])
      await settle(core, [1])
      const gone = { outcome: 'gone' }
      expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(1))).toEqual(gone)
      expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(2))).toEqual(gone)
      expect(await core.inboxes.reject(NS, 'inbox', rejectionOf(1, { agentId: 'nobody' }))).toEqual(gone)
      expect(await core.deadLetters.list(NS, null, 10)).toEqual([])
    })
  })

  describe('expiring', () => {
    test('expire gives entries up, whatever the clock says, and ignores unknown ones', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await store(core, sendOf(sender, toAgent('alice'), 'm1', { expiresAt: Date.now() + 3_600_000 }))
      await fill(core, sender, toAgent('alice'), ['m2'])
      await core.inboxes.expire(NS, { agentId: 'alice', lane: 'inbox', numbers: [1, 9] })
      expect(await numbersOf(core)).toEqual([2])
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', reason: 'expired' },
      ])
    })

    test('expireAbsent gives up what has expired while its agent is away, at most so many', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await leave(core, alice)
      const expiresAt = Date.now() + 20
      const far = Date.now() + 3_600_000
      for (const [id, at] of [
        ['m1', expiresAt],
        ['m2', far],
        ['m3', expiresAt],
        ['m4', expiresAt],
      ] as const) {
        await store(core, sendOf(bob.sender, toAgent('alice'), id, { expiresAt: at }))
      }
      await fill(core, bob.sender, toAgent('alice'), ['m5'])
      expect(await numbersOf(core)).toHaveLength(5)
      await expect.poll(() => core.inboxes.expireAbsent(NS, 2), { interval: 5 }).toBe(2)
      expect(await core.inboxes.expireAbsent(NS, 2)).toBe(1)
      expect(await core.inboxes.expireAbsent(NS, 2)).toBe(0)
      expect(await numbersOf(core)).toEqual([2, 5])
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead.map(({ messageId, reason }) => `${messageId} ${reason}`).toSorted()).toEqual([
        'm1 expired',
        'm3 expired',
        'm4 expired',
      ])
    })

    test('expireAbsent finds what was sent before the agent left', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await store(
        core,
        sendOf(alice.sender, toAgent('alice', 'replies'), 'r1', { expiresAt: Date.now() + 30 }),
      )
      await leave(core, alice)
      await expect.poll(() => core.inboxes.expireAbsent(NS, 10), { interval: 5 }).toBe(1)
      expect(await numbersOf(core, 'replies')).toEqual([])
    })

    test('expireAbsent leaves the entries of connected agents to their sessions', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await store(core, sendOf(sender, toAgent('alice'), 'm1', { expiresAt: Date.now() - 1000 }))
      expect(await core.inboxes.expireAbsent(NS, 10)).toBe(0)
      expect(await numbersOf(core)).toEqual([1])
    })

    test('expireAbsent leaves the entries of an agent that came back, too', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await leave(core, alice)
      const expiresAt = Date.now() + 20
      await store(core, sendOf(bob.sender, toAgent('alice'), 'm1', { expiresAt }))
      await join(core, 'alice')
      await expect.poll(() => Date.now(), { interval: 5 }).toBeGreaterThan(expiresAt + 1)
      expect(await core.inboxes.expireAbsent(NS, 10)).toBe(0)
      expect(await numbersOf(core)).toEqual([1])
    })

    test('a rejected entry that expires is given up once, with its rejections', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await store(core, sendOf(alice.sender, toAgent('alice'), 'm1', { expiresAt: Date.now() + 30 }))
      await core.inboxes.reject(NS, 'inbox', rejectionOf(1))
      await leave(core, alice)
      await expect.poll(() => core.inboxes.expireAbsent(NS, 10), { interval: 5 }).toBe(1)
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([{ messageId: 'm1', attempts: 1 }])
    })
  })

  describe('marks of earlier sessions', () => {
    const attempt = (marks: string, number: number): number => attemptOf(parseMarks(marks), number, 0)

    test('what a session tells when it leaves is told to the next one', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice')
      const marks = { inbox: '7:2,3:1', replies: '1:1', broadcasts: '12:1' }
      await leave(one, alice, { marks })
      expect((await join(two, 'alice')).marks).toEqual(marks)
    })

    test('all that lay in the lanes and the log of a displaced session counts as pushed', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await fill(core, bob.sender, toAgent('alice'), ['m1', 'm2'])
      await fill(core, bob.sender, toAgent('alice', 'replies'), ['r1'])
      await fill(core, bob.sender, { kind: 'members', of: 'all', value: '', echo: false }, ['b1'])
      expect(alice.marks.inbox).toBe('')
      const { marks } = await join(core, 'alice', { proved: true })
      expect([attempt(marks.inbox, 1), attempt(marks.inbox, 2), attempt(marks.inbox, 3)]).toEqual([2, 2, 1])
      expect([attempt(marks.replies, 1), attempt(marks.replies, 2)]).toEqual([2, 1])
      expect([attempt(marks.broadcasts, 1), attempt(marks.broadcasts, 2)]).toEqual([2, 1])
    })

    test('so does what lay there when a session was lost without a word', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await fill(core, bob.sender, toAgent('alice'), ['m1'])
      await leave(core, alice, { fence: null, marks: null })
      await leave(core, alice, { fence: null, marks: null })
      await fill(core, bob.sender, toAgent('alice'), ['m2'])
      const { marks } = await join(core, 'alice')
      expect([attempt(marks.inbox, 1), attempt(marks.inbox, 2)]).toEqual([2, 1])
      expect(attempt((await join(core, 'alice', { proved: true })).marks.inbox, 1)).toBe(3)
    })
  })
}
