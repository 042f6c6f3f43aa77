import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { join, leave, listen, NS, registration, type CoreFactory } from '../support/core.ts'
import {
  claim,
  claimantOf,
  claimOne,
  heldIds,
  holdOf,
  idsOf,
  joinBoss,
  releaseOf,
  storeWork,
  tickUntil,
  waitingIn,
  WORK,
} from '../support/work.ts'

const deadOf = async (core: Core): Promise<unknown[]> => {
  const dead = await core.deadLetters.list(NS, null, 1000)
  return dead.map(({ messageId, agentId, capability, reason, attempts }) => ({
    messageId,
    agentId,
    capability,
    reason,
    attempts,
  }))
}

/** Waits until the clock of the store has passed this time. */
const passed = async (at: number): Promise<void> =>
  expect.poll(() => Date.now(), { interval: 5 }).toBeGreaterThan(at + 1)

/** What time does to work: what the port `Queues` says. */
export function queuesTimeSuite({ openCore, openPair }: CoreFactory): void {
  describe('a claim without a sign of progress', () => {
    test('is lost after ackTimeoutMs: the holder’s hub is told, and another agent gets the work', async () => {
      const [one, two] = await openPair({ ackTimeoutMs: 20 })
      const ann = await join(one, 'ann')
      const ben = await join(two, 'ben', { hub: 'hub-2' })
      await storeWork(one, await joinBoss(one), ['m1'])
      const task = await claimOne(one, ann)
      const [own, other] = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      await tickUntil(two, 1)
      expect(await own.hear(({ kind }) => kind === 'revoked')).toEqual({
        kind: 'revoked',
        agentId: 'ann',
        id: 'm1',
        claim: 1,
        reason: 'ack_timeout',
      })
      expect(await other.settled(two)).toEqual([{ kind: 'queued', capabilities: [WORK] }])
      expect(await heldIds(one, 'ann')).toEqual([])
      expect(await claim(one, ann)).toEqual([])
      const again = await claimOne(two, ben)
      expect(again).toMatchObject({ id: 'm1', attempt: 2, claim: 2 })
      await one.queues.settle(NS, [holdOf(task)])
      expect(await one.queues.size(NS, WORK)).toBe(1)
    })

    test('counts, and the last attempt allowed gives the work up', async () => {
      const core = await openCore({ ackTimeoutMs: 10, maxAttempts: 2 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { reason: 'busy' }))
      await claim(core, ann)
      await tickUntil(core, 1)
      expect(await deadOf(core)).toEqual([
        { messageId: 'm1', agentId: 'ann', capability: WORK, reason: 'ack_timeout', attempts: 2 },
      ])
    })

    test('holds on while its holder tells of progress', async () => {
      const core = await openCore({ ackTimeoutMs: 250 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      const [kept] = await claim(core, ann, 2)
      if (kept === undefined) throw new Error('nothing waits')
      let dealt = 0
      await expect
        .poll(
          async () => {
            const [, count] = await Promise.all([
              core.queues.extend(NS, [holdOf(kept)]),
              core.queues.tick(NS, 10),
            ])
            return (dealt += count)
          },
          { interval: 5, timeout: 5_000 },
        )
        .toBe(1)
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
    })

    test('progress of another agent or an earlier claim does not count', async () => {
      const core = await openCore({ ackTimeoutMs: 20 })
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1'])
      const first = await claimOne(core, ann)
      await core.queues.release(NS, releaseOf(ann, first))
      const second = await claimOne(core, ben)
      const strangers = [
        holdOf(first),
        { ...holdOf(second), agentId: 'ann' },
        { ...holdOf(second), claim: 1 },
      ]
      let dealt = 0
      await expect
        .poll(
          async () => {
            await core.queues.extend(NS, strangers)
            return (dealt += await core.queues.tick(NS, 10))
          },
          { interval: 5, timeout: 5_000 },
        )
        .toBe(1)
      expect(await heldIds(core, 'ben')).toEqual([])
    })

    test('has its time anew when a session resumes it', async () => {
      const core = await openCore({ ackTimeoutMs: 700 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      const claimedBy = Date.now()
      let { sender } = ann
      while (Date.now() < claimedBy + 800) {
        ;({ sender } = await join(core, 'ann', { proved: true }))
        const [, count] = await Promise.all([
          core.queues.resume(NS, 'ann', sender.fence),
          core.queues.tick(NS, 10),
        ])
        expect(count).toBe(0)
      }
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
    })

    test('is lost in the grace period of its holder as well', async () => {
      const core = await openCore({ ackTimeoutMs: 10 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      await leave(core, ann)
      const ears = await listen(core, 'hub-1')
      await tickUntil(core, 1)
      expect((await ears.settled(core)).map(({ kind }) => kind)).toEqual(['queued'])
      expect((await join(core, 'ann')).holding).toBe(0)
    })

    test('ackTimeoutMs 0 gives all the time there is', async () => {
      const core = await openCore({ ackTimeoutMs: 0 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      await core.queues.extend(NS, [holdOf(task)])
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
    })

    test('many are dealt with by and by, at most so many at a time', async () => {
      const core = await openCore({ ackTimeoutMs: 10 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1', 'm2', 'm3'])
      const tasks = await claim(core, ann, 3)
      expect(tasks).toHaveLength(3)
      await expect.poll(() => core.queues.tick(NS, 2), { interval: 30 }).toBe(2)
      expect(await core.queues.tick(NS, 2)).toBe(1)
      expect(await core.queues.tick(NS, 2)).toBe(0)
      expect(await waitingIn(core)).toBe(3)
    })
  })

  describe('a delay', () => {
    test('over, the work waits in its place again, and every hub is told', async () => {
      const [one, two] = await openPair()
      const ann = await join(one, 'ann')
      await storeWork(one, await joinBoss(one), ['m1', 'm2'])
      await one.queues.release(NS, releaseOf(ann, await claimOne(one, ann), { delayMs: 20 }))
      expect(await waitingIn(two)).toBe(1)
      const ears = await listen(two, 'hub-2')
      await tickUntil(one, 1)
      expect(await ears.hear(({ kind }) => kind === 'queued')).toEqual({
        kind: 'queued',
        capabilities: [WORK],
      })
      expect(idsOf(await claim(two, ann, 2))).toEqual(['m1', 'm2'])
    })
  })

  describe('work whose time to live is over', () => {
    test('is not claimed but given up on the way', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      const boss = await joinBoss(core)
      await storeWork(core, boss, ['m1', 'm2'], { expiresAt: Date.now() - 1000 })
      await storeWork(core, boss, ['m3'])
      expect(await core.queues.claim(NS, WORK, [claimantOf(ann, 2)])).toMatchObject({
        tasks: [{ id: 'm3' }],
        left: 0,
      })
      expect(await deadOf(core)).toEqual(
        ['m1', 'm2'].map((messageId) => ({
          messageId,
          agentId: null,
          capability: WORK,
          reason: 'expired',
          attempts: 0,
        })),
      )
      expect(await core.queues.size(NS, WORK)).toBe(1)
    })

    test('is given up by the time alone', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      const expiresAt = Date.now() + 30
      await storeWork(core, boss, ['m1'], { expiresAt: Date.now() + 3_600_000 })
      await storeWork(core, boss, ['m2', 'm3'], { expiresAt })
      await tickUntil(core, 2)
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(await waitingIn(core)).toBe(1)
      expect(await core.queues.size(NS, WORK)).toBe(1)
      expect(await deadOf(core)).toMatchObject([{ reason: 'expired' }, { reason: 'expired' }])
    })

    test('is given up while it is delayed, for its last holder', async () => {
      const core = await openCore()
      const [ann, boss] = [await join(core, 'ann'), await joinBoss(core)]
      await storeWork(core, boss, ['m1'], { expiresAt: Date.now() + 100 })
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { delayMs: 60_000 }))
      await tickUntil(core, 1)
      expect(await deadOf(core)).toEqual([
        { messageId: 'm1', agentId: 'ann', capability: WORK, reason: 'expired', attempts: 1 },
      ])
    })

    test('may still be settled by its holder', async () => {
      const core = await openCore()
      const [ann, boss] = [await join(core, 'ann'), await joinBoss(core)]
      const expiresAt = Date.now() + 100
      await storeWork(core, boss, ['m1'], { expiresAt })
      const task = await claimOne(core, ann)
      await passed(expiresAt)
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
      await core.queues.settle(NS, [holdOf(task)])
      expect(await core.queues.size(NS, WORK)).toBe(0)
      expect(await deadOf(core)).toEqual([])
    })

    test('is given up as expired when its holder loses it, whatever way', async () => {
      const core = await openCore({ ackTimeoutMs: 200 })
      const [ann, ben, cid] = [await join(core, 'ann'), await join(core, 'ben'), await join(core, 'cid')]
      const boss = await joinBoss(core)
      const expiresAt = Date.now() + 150
      await storeWork(core, boss, ['m1', 'm2', 'm3'], { expiresAt })
      const rejected = await claimOne(core, ann)
      await claim(core, ben)
      await claim(core, cid)
      await passed(expiresAt)
      const release = releaseOf(ann, rejected, { reason: 'busy', delayMs: 10 })
      expect(await core.queues.release(NS, release)).toEqual({ outcome: 'dead' })
      await leave(core, ben, { departure: 'keep' })
      await tickUntil(core, 1)
      expect(await deadOf(core)).toEqual([
        { messageId: 'm1', agentId: 'ann', capability: WORK, reason: 'expired', attempts: 1 },
        { messageId: 'm2', agentId: 'ben', capability: WORK, reason: 'expired', attempts: 0 },
        { messageId: 'm3', agentId: 'cid', capability: WORK, reason: 'expired', attempts: 1 },
      ])
    })
  })

  describe('work that nobody can do', () => {
    test('is given up after retentionMs', async () => {
      const core = await openCore({ retentionMs: 40 })
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      await tickUntil(core, 2)
      expect(await deadOf(core)).toEqual(
        ['m1', 'm2'].map((messageId) => ({
          messageId,
          agentId: null,
          capability: WORK,
          reason: 'retention',
          attempts: 0,
        })),
      )
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })

    test('is given up when the last one that could has been gone for retentionMs', async () => {
      const core = await openCore({ retentionMs: 60 })
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      await core.queues.release(
        NS,
        releaseOf(ann, await claimOne(core, ann), { delayMs: 3_600_000, reason: 'busy' }),
      )
      await leave(core, ann, { departure: 'unregister' })
      const changed = registration('ben', { capabilities: ['vision'] })
      const { agentId, fence } = ben.sender
      const update = { agentId, fence, status: null, statusReason: null }
      await core.registry.update(NS, { ...update, registration: changed })
      expect(await core.queues.tick(NS, 10)).toBe(0)
      await tickUntil(core, 2)
      expect(await deadOf(core)).toHaveLength(2)
      expect(await deadOf(core)).toContainEqual({
        messageId: 'm1',
        agentId: 'ann',
        capability: WORK,
        reason: 'retention',
        attempts: 1,
      })
    })

    test('is given up by and by, at most so many at a time', async () => {
      const core = await openCore({ retentionMs: 20 })
      await storeWork(core, await joinBoss(core), ['m1', 'm2', 'm3', 'm4', 'm5'])
      await passed(Date.now() + 60)
      const counts: number[] = []
      await expect
        .poll(
          async () => {
            counts.push(await core.queues.tick(NS, 2))
            return core.queues.size(NS, WORK)
          },
          { interval: 5 },
        )
        .toBe(0)
      expect(Math.max(...counts)).toBe(2)
      expect((await deadOf(core)).length).toBe(5)
    })

    test('waits for a registered agent that is away', async () => {
      const core = await openCore({ retentionMs: 40 })
      const ann = await join(core, 'ann')
      const boss = await joinBoss(core)
      await leave(core, ann)
      await storeWork(core, boss, ['m1'])
      await passed(Date.now() + 100)
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(idsOf(await claim(core, await join(core, 'ann')))).toEqual(['m1'])
    })

    test('waits on when somebody comes that can', async () => {
      const core = await openCore({ retentionMs: 60 })
      const boss = await joinBoss(core)
      await storeWork(core, boss, ['m1'])
      const ann = await join(core, 'ann')
      await passed(Date.now() + 140)
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(idsOf(await claim(core, ann))).toEqual(['m1'])
    })

    test('is kept without end where retentionMs is 0', async () => {
      const core = await openCore({ retentionMs: 0 })
      await storeWork(core, await joinBoss(core), ['m1'])
      const ann = await join(core, 'ann')
      await leave(core, ann, { departure: 'unregister' })
      expect(await core.queues.tick(NS, 10)).toBe(0)
      expect(await waitingIn(core)).toBe(1)
    })
  })

  describe('the backlog', () => {
    test('is all entries of all queues, and the age of the message that waits for longest', async () => {
      const [one, two] = await openPair()
      expect(await one.queues.backlog(NS, 10)).toEqual({ queues: 0, messages: 0, oldestMs: null })
      const boss = await joinBoss(one)
      const ann = await join(one, 'ann')
      await storeWork(one, boss, ['m1'])
      const since = Date.now()
      await passed(since + 20)
      await storeWork(one, boss, ['m2', 'm3'])
      const { oldestMs, ...counts } = await two.queues.backlog(NS, 10)
      expect(counts).toEqual({ queues: 1, messages: 3 })
      expect(oldestMs).toBeGreaterThanOrEqual(20)
      await claim(one, ann, 1)
      const rest = await two.queues.backlog(NS, 10)
      // What is held does not wait.
      expect(rest.messages).toBe(3)
      expect(rest.oldestMs).toBeLessThan(oldestMs ?? 0)
      await claim(one, ann, 2)
      expect(await two.queues.backlog(NS, 10)).toEqual({ queues: 1, messages: 3, oldestMs: null })
      expect(await two.queues.backlog('other', 10)).toEqual({ queues: 0, messages: 0, oldestMs: null })
    })

    test('what an agent lost counts by when it was stored, what is delayed does not wait', async () => {
      const core = await openCore()
      const [ann] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { delayMs: 60_000 }))
      expect(await core.queues.backlog(NS, 10)).toMatchObject({ messages: 2, oldestMs: expect.any(Number) })
      expect(await core.queues.backlog(NS, 0)).toEqual({ queues: 1, messages: 2, oldestMs: null })
    })
  })
}
