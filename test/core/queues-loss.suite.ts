import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { join, leave, listen, NS, registration, type CoreFactory, type Joined } from '../support/core.ts'
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
  waitingIn,
  WORK,
} from '../support/work.ts'

/** An agent and its former holding, lost for good: the grace period is over. */
async function loseForGood(core: Core, joined: Joined): Promise<void> {
  await leave(core, joined, { graceMs: 0 })
  await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual([joined.sender.agentId])
  await core.registry.expire(NS, joined.sender.agentId)
}

/** How an agent loses work, and who gets it then: what the port `Queues` says. */
export function queuesLossSuite({ openCore, openPair }: CoreFactory): void {
  describe('rejecting work', () => {
    test('rejected work waits in its place again and goes to another agent', async () => {
      const [one, two] = await openPair()
      const [ann, ben] = [await join(one, 'ann'), await join(two, 'ben')]
      await storeWork(one, await joinBoss(one), ['m1', 'm2', 'm3'])
      const task = await claimOne(one, ann)
      expect(await one.queues.release(NS, releaseOf(ann, task))).toEqual({ outcome: 'requeued', dueAt: null })
      expect(await heldIds(two, 'ann')).toEqual([])
      expect(idsOf(await claim(two, ben, 2))).toEqual(['m1', 'm2'])
      expect((await two.queues.held(NS, 'ben'))[0]).toMatchObject({ attempt: 2, claim: 2 })
    })

    test('it is passed over for the one that lost it last while another connected agent has the capability', async () => {
      const core = await openCore()
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2', 'm3'])
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
      expect(await core.queues.claim(NS, WORK, [claimantOf(ann, 3)])).toMatchObject({
        tasks: [{ id: 'm2' }, { id: 'm3' }],
        left: 1,
      })
      // The one that lost it before the last time is not passed over.
      await core.queues.release(NS, releaseOf(ben, await claimOne(core, ben)))
      expect(await claim(core, ben)).toEqual([])
      expect(idsOf(await claim(core, ann))).toEqual(['m1'])
    })

    test('an agent that is alone with the capability gets it back itself', async () => {
      const core = await openCore()
      const [ann, ben, cid] = [await join(core, 'ann'), await join(core, 'ben'), await join(core, 'cid')]
      await storeWork(core, await joinBoss(core), ['m1'])
      await leave(core, cid, { departure: 'unregister' })
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
      expect(await claim(core, ann)).toEqual([])
      // Registered is not enough.
      await leave(core, ben)
      expect(idsOf(await claim(core, ann))).toEqual(['m1'])
    })

    test('so does one whose fellows have given up the capability', async () => {
      const core = await openCore()
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1'])
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
      expect(await claim(core, ann)).toEqual([])
      const changed = registration('ben', { capabilities: ['vision'] })
      const { agentId, fence } = ben.sender
      const update = { agentId, fence, status: null, statusReason: null }
      await core.registry.update(NS, { ...update, registration: changed })
      expect(idsOf(await claim(core, ann))).toEqual(['m1'])
    })

    test('much work lost by one agent does not keep it from the work behind', async () => {
      const core = await openCore()
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      const ids = Array.from({ length: 40 }, (_, index) => `m${index}`)
      await storeWork(core, await joinBoss(core), [...ids, 'last'])
      for (const task of await claim(core, ann, 40)) await core.queues.release(NS, releaseOf(ann, task))
      expect(idsOf(await claim(core, ann, 5))).toEqual(['last'])
      expect(idsOf(await claim(core, ben, 100))).toEqual(ids)
    })

    test('a delayed message waits for nobody, and its place is free at once', async () => {
      const core = await openCore()
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      const before = Date.now()
      const delayed = await core.queues.release(
        NS,
        releaseOf(ann, await claimOne(core, ann), { delayMs: 60_000 }),
      )
      if (delayed.outcome !== 'requeued') throw new Error('not requeued')
      expect(delayed.dueAt).toBeGreaterThanOrEqual(before + 59_999)
      expect(delayed.dueAt).toBeLessThanOrEqual(Date.now() + 60_001)
      expect(await heldIds(core, 'ann')).toEqual([])
      expect(await core.queues.tick(NS, 10)).toBe(0)
      const { tasks, left } = await core.queues.claim(NS, WORK, [claimantOf(ben, 2, 1), claimantOf(ann)])
      expect(idsOf(tasks)).toEqual(['m2'])
      expect(left).toBe(0)
      expect(await core.queues.size(NS, WORK)).toBe(2)
    })

    test('the last attempt allowed gives it up, with the reason of the rejection or max_attempts', async () => {
      const core = await openCore({ maxAttempts: 2 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      for (const reason of [null, 'too hard']) {
        expect(
          await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { reason })),
        ).toMatchObject({ outcome: 'requeued' })
        expect(await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { reason }))).toEqual({
          outcome: 'dead',
        })
      }
      expect(await core.queues.size(NS, WORK)).toBe(0)
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', agentId: 'ann', capability: WORK, reason: 'max_attempts', attempts: 2 },
        { messageId: 'm2', agentId: 'ann', capability: WORK, reason: 'too hard', attempts: 2 },
      ])
    })

    test('maxAttempts 0 never gives up', async () => {
      const core = await openCore({ maxAttempts: 0 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      for (let attempt = 1; attempt <= 10; attempt += 1) {
        const task = await claimOne(core, ann)
        expect(task.attempt).toBe(attempt)
        expect(await core.queues.release(NS, releaseOf(ann, task))).toMatchObject({ outcome: 'requeued' })
      }
    })

    test('without requeue it is given up at once, and every hub is told', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const ann = await join(one, 'ann')
      await storeWork(one, await joinBoss(one), ['m1'])
      const release = releaseOf(ann, await claimOne(one, ann), { requeue: false, reason: 'nonsense' })
      expect(await one.queues.release(NS, release)).toEqual({ outcome: 'dead' })
      const [letter] = await two.deadLetters.list(NS, null, 10)
      expect(letter).toMatchObject({ messageId: 'm1', agentId: 'ann', reason: 'nonsense', attempts: 1 })
      expect(await ears.hear(({ kind }) => kind === 'dead')).toEqual({
        kind: 'dead',
        messageId: 'm1',
        agentId: 'ann',
        capability: WORK,
        reason: 'nonsense',
        at: letter?.at,
      })
      expect(await two.queues.size(NS, WORK)).toBe(0)
    })

    test('what never reached the agent counts for nothing', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const ann = await join(core, 'ann')
      await join(core, 'ben')
      await storeWork(core, await joinBoss(core), ['m1'])
      for (const claimNumber of [1, 2, 3]) {
        const task = await claimOne(core, ann)
        expect(task).toMatchObject({ attempt: 1, claim: claimNumber })
        const release = releaseOf(ann, task, { cause: 'unpushed' })
        expect(await core.queues.release(NS, release)).toEqual({ outcome: 'requeued', dueAt: null })
      }
    })

    test('only the holder gives it back, by its present session and claim', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      const ben = await join(core, 'ben')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      const next = await join(core, 'ann', { proved: true })
      const gone = { outcome: 'gone' }
      expect(await core.queues.release(NS, releaseOf(ann, task))).toEqual(gone)
      expect(await core.queues.release(NS, releaseOf(next, { ...task, claim: 2 }))).toEqual(gone)
      expect(await core.queues.release(NS, releaseOf(ben, { ...task, agentId: 'ben' }))).toEqual(gone)
      expect(await core.queues.release(NS, releaseOf(next, { ...task, id: 'm2' }))).toEqual(gone)
      expect(await core.queues.release(NS, releaseOf(ben, { ...task, agentId: 'nobody' }))).toEqual(gone)
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
      expect(await core.queues.release(NS, releaseOf(next, task))).toMatchObject({ outcome: 'requeued' })
      expect(await core.queues.release(NS, releaseOf(next, task))).toEqual(gone)
    })

    test('every hub is told that it waits again, unless it is delayed', async () => {
      const [one, two] = await openPair()
      const ann = await join(one, 'ann')
      await storeWork(one, await joinBoss(one), ['m1', 'm2'])
      const ears = await listen(two, 'hub-2')
      const [first, second] = await claim(one, ann, 2)
      if (first === undefined || second === undefined) throw new Error('nothing waits')
      await one.queues.release(NS, releaseOf(ann, first, { delayMs: 60_000 }))
      expect(await ears.settled(one)).toEqual([])
      await one.queues.release(NS, releaseOf(ann, second))
      expect(await ears.settled(one)).toEqual([{ kind: 'queued', capabilities: [WORK] }])
    })
  })

  describe('a holder that goes', () => {
    test('hands on at once what it holds when it says so, without a failed attempt', async () => {
      const [one, two] = await openPair({ maxAttempts: 1 })
      const ben = await join(two, 'ben')
      await storeWork(one, await joinBoss(one), ['m1', 'm2'])
      for (const [agentId, departure] of [
        ['ann', 'keep'],
        ['cid', 'unregister'],
      ] as const) {
        const holder = await join(one, agentId)
        expect(await claim(one, holder, 2)).toHaveLength(2)
        const ears = await listen(two, 'hub-2')
        await leave(one, holder, { departure })
        await ears.hear(({ kind }) => kind === 'queued')
        expect(await heldIds(two, agentId)).toEqual([])
        const tasks = await claim(two, ben, 2)
        expect(idsOf(tasks)).toEqual(['m1', 'm2'])
        for (const task of tasks) await two.queues.release(NS, releaseOf(ben, task, { cause: 'unpushed' }))
      }
      expect(await one.deadLetters.list(NS, null, 10)).toEqual([])
    })

    test('and is passed over when it comes back', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await join(core, 'ben')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      await leave(core, ann, { departure: 'keep' })
      const back = await join(core, 'ann')
      expect(back.holding).toBe(0)
      expect(await claim(core, back)).toEqual([])
    })

    test('without a word keeps it for the grace period and then loses it, which counts', async () => {
      const core = await openCore({ maxAttempts: 2 })
      const ann = await join(core, 'ann')
      const ben = await join(core, 'ben')
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      const [task] = await claim(core, ann, 2)
      if (task === undefined) throw new Error('nothing waits')
      await leave(core, ann, { graceMs: 0 })
      expect(await heldIds(core, 'ann')).toEqual(['m1', 'm2'])
      expect(await claim(core, ben)).toEqual([])
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['ann'])
      const ears = await listen(core, 'hub-2')
      await core.registry.expire(NS, 'ann')
      expect(await heldIds(core, 'ann')).toEqual([])
      await ears.hear(({ kind }) => kind === 'queued')
      // What it says late has no effect.
      await core.queues.settle(NS, [holdOf(task)])
      expect(idsOf(await claim(core, ben, 2))).toEqual(['m1', 'm2'])
      await loseForGood(core, ben)
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', agentId: 'ben', capability: WORK, reason: 'holder_lost', attempts: 2 },
        { messageId: 'm2', agentId: 'ben', capability: WORK, reason: 'holder_lost', attempts: 2 },
      ])
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })

    test('an ephemeral one loses it with its registration, which counts too', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const ann = await join(core, 'ann', { fields: { ephemeral: true } })
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      await loseForGood(core, ann)
      expect((await core.registry.snapshot(NS)).agents.map(({ id }) => id)).toEqual(['boss'])
      expect(await core.deadLetters.list(NS, null, 10)).toMatchObject([
        { messageId: 'm1', agentId: 'ann', reason: 'holder_lost', attempts: 1 },
      ])
    })

    test('one that goes offline by `keep` after its connection was lost hands on, too', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      await leave(core, ann)
      await leave(core, ann, { departure: 'keep' })
      expect(await heldIds(core, 'ann')).toEqual([])
      expect(await waitingIn(core)).toBe(1)
    })

    test('repeating a farewell changes nothing', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      for (let time = 0; time < 2; time += 1) {
        await leave(core, ann, { departure: 'keep' })
        expect(await waitingIn(core)).toBe(1)
        expect(await core.queues.size(NS, WORK)).toBe(1)
      }
    })

    test('an id that is registered anew holds nothing of what it held before', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      await leave(core, ann, { departure: 'unregister' })
      const anew = await join(core, 'ann')
      expect(anew).toMatchObject({ resumed: false, holding: 0 })
      await core.queues.settle(NS, [holdOf(task)])
      expect(await core.queues.release(NS, releaseOf(anew, task))).toEqual({ outcome: 'gone' })
      expect(await waitingIn(core)).toBe(1)
    })
  })
}
