import { describe, expect, test } from 'vitest'
import { fill, frame, join, leave, NS, registration, toQueue, type CoreFactory } from '../support/core.ts'
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

/** Who gets work, and how it ends well: what the port `Queues` says. */
export function queuesClaimsSuite({ openCore, openPair }: CoreFactory): void {
  describe('claiming', () => {
    test('work is claimed in the order it was stored, with its frame', async () => {
      const [one, two] = await openPair()
      await storeWork(one, await joinBoss(one), ['m1', 'm2', 'm3'])
      const ann = await join(two, 'ann')
      expect(await two.queues.claim(NS, WORK, [claimantOf(ann, 2)])).toEqual({
        tasks: [
          { agentId: 'ann', id: 'm1', capability: WORK, text: frame('m1'), attempt: 1, claim: 1 },
          { agentId: 'ann', id: 'm2', capability: WORK, text: frame('m2'), attempt: 1, claim: 1 },
        ],
        left: 1,
      })
      expect(await heldIds(one, 'ann')).toEqual(['m1', 'm2'])
      expect(await one.queues.size(NS, WORK)).toBe(3)
    })

    test('in rounds of one message for each agent with room', async () => {
      const core = await openCore()
      const [ann, ben, cid] = [await join(core, 'ann'), await join(core, 'ben'), await join(core, 'cid')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7'])
      const { tasks, left } = await core.queues.claim(NS, WORK, [
        claimantOf(cid, 3),
        claimantOf(ann, 1),
        claimantOf(ben, 2),
      ])
      expect(tasks.map(({ agentId, id }) => `${agentId} ${id}`)).toEqual([
        'cid m1',
        'ann m2',
        'ben m3',
        'cid m4',
        'ben m5',
        'cid m6',
      ])
      expect(left).toBe(1)
    })

    test('nothing is there to claim in an empty queue, or for nobody', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      expect(await core.queues.claim(NS, WORK, [claimantOf(ann, 5)])).toEqual({ tasks: [], left: 0 })
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      expect(await core.queues.claim(NS, WORK, [])).toEqual({ tasks: [], left: 2 })
      expect(await core.queues.claim('other', WORK, [claimantOf(ann)])).toEqual({ tasks: [], left: 0 })
      expect(await core.queues.size('other', WORK)).toBe(0)
    })

    test('a message is held by one agent at a time', async () => {
      const [one, two] = await openPair()
      const [ann, ben] = [await join(one, 'ann'), await join(two, 'ben')]
      await storeWork(one, await joinBoss(one), ['m1', 'm2', 'm3'])
      const [of, to] = await Promise.all([claim(one, ann, 2), claim(two, ben, 2)])
      expect([...idsOf(of), ...idsOf(to)].toSorted()).toEqual(['m1', 'm2', 'm3'])
      expect(await claim(one, ann, 2)).toEqual([])
    })

    test('an agent never holds more than its concurrency, whatever its room', async () => {
      const [one, two] = await openPair()
      const [ann, ben] = [await join(one, 'ann'), await join(two, 'ben')]
      await storeWork(one, await joinBoss(one), ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
      expect(idsOf((await one.queues.claim(NS, WORK, [claimantOf(ann, 2, 3)])).tasks)).toEqual(['m1', 'm2'])
      const { tasks, left } = await two.queues.claim(NS, WORK, [claimantOf(ann, 3, 3), claimantOf(ben)])
      expect(tasks.map(({ agentId, id }) => `${agentId} ${id}`)).toEqual(['ann m3', 'ben m4'])
      expect(left).toBe(2)
      expect((await one.queues.claim(NS, WORK, [claimantOf(ann, 1, 2)])).tasks).toEqual([])
    })

    test('concurrency is counted over all queues', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann', { fields: { capabilities: [WORK, 'asking'] } })
      const boss = await joinBoss(core)
      await storeWork(core, boss, ['m1'])
      await fill(core, boss.sender, toQueue('asking'), ['m2'])
      expect((await core.queues.claim(NS, 'asking', [claimantOf(ann, 1, 1)])).tasks).toHaveLength(1)
      expect(await core.queues.claim(NS, WORK, [claimantOf(ann, 1, 1)])).toEqual({ tasks: [], left: 1 })
    })

    test('only a live session claims', async () => {
      const core = await openCore()
      const former = await join(core, 'ann')
      const ann = await join(core, 'ann', { proved: true })
      const ben = await join(core, 'ben')
      const gone = await join(core, 'cid')
      await leave(core, ben)
      await leave(core, gone, { departure: 'unregister' })
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      const { tasks, left } = await core.queues.claim(
        NS,
        WORK,
        [former, ben, gone, ann].map((joined) => claimantOf(joined)),
      )
      expect(tasks.map(({ agentId, id }) => `${agentId} ${id}`)).toEqual(['ann m1'])
      expect(left).toBe(1)
    })

    test('the queues are apart', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      const ann = await join(core, 'ann', { fields: { capabilities: [WORK, 'asking'] } })
      await storeWork(core, boss, ['m1'])
      expect(await core.queues.claim(NS, 'asking', [claimantOf(ann)])).toEqual({ tasks: [], left: 0 })
      // Not a prefix of another one either.
      expect(await core.queues.claim(NS, WORK.slice(0, 2), [claimantOf(ann)])).toEqual({ tasks: [], left: 0 })
      expect(await waitingIn(core)).toBe(1)
    })

    test('a backlog is worked off in order, however long it is', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      const boss = await joinBoss(core)
      const ids = Array.from({ length: 3_000 }, (_, index) => `m${index}`)
      await fill(core, boss.sender, toQueue(WORK), ids)
      const done: string[] = []
      for (;;) {
        const tasks = await claim(core, ann, 500)
        if (tasks.length === 0) break
        done.push(...idsOf(tasks))
        await core.queues.settle(NS, tasks.map(holdOf))
      }
      expect(done).toEqual(ids)
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })
  })

  describe('settling work', () => {
    test('settled work is gone, and settling again changes nothing', async () => {
      const [one, two] = await openPair()
      const ann = await join(one, 'ann')
      await storeWork(one, await joinBoss(one), ['m1', 'm2'])
      const holds = (await claim(one, ann, 2)).map(holdOf)
      await two.queues.settle(NS, holds)
      await one.queues.settle(NS, holds)
      expect(await two.queues.size(NS, WORK)).toBe(0)
      expect(await heldIds(two, 'ann')).toEqual([])
      expect(await one.deadLetters.list(NS, null, 10)).toEqual([])
    })

    test('only its holder settles it, and only by the claim it has', async () => {
      const core = await openCore()
      const [ann, ben] = [await join(core, 'ann'), await join(core, 'ben')]
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      const first = await claimOne(core, ann)
      await core.queues.settle(NS, [
        { agentId: 'ben', id: 'm1', claim: 1 },
        { agentId: 'nobody', id: 'm1', claim: 1 },
        { agentId: 'ann', id: 'm1', claim: 2 },
        { agentId: 'ann', id: 'm2', claim: 1 },
        { agentId: 'ann', id: 'nothing', claim: 1 },
      ])
      expect(await core.queues.size(NS, WORK)).toBe(2)
      await core.queues.release(NS, releaseOf(ann, first))
      const second = await claimOne(core, ben)
      expect(second).toMatchObject({ id: 'm1', claim: 2, attempt: 2 })
      // What a former holder says late has no effect.
      await core.queues.settle(NS, [holdOf(first)])
      expect(await heldIds(core, 'ben')).toEqual(['m1'])
      await core.queues.settle(NS, [holdOf(second)])
      expect(await core.queues.size(NS, WORK)).toBe(1)
    })

    test('an agent that is away may still settle', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      await leave(core, ann)
      await core.queues.settle(NS, [holdOf(task)])
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })

    test('an agent that gave up the capability may still settle', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      const changed = registration('ann', { capabilities: ['vision'] })
      const { agentId, fence } = ann.sender
      await core.registry.update(NS, {
        agentId,
        fence,
        registration: changed,
        status: null,
        statusReason: null,
      })
      expect(await heldIds(core, 'ann')).toEqual(['m1'])
      await core.queues.settle(NS, [holdOf(task)])
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })
  })

  describe('an agent that comes back', () => {
    test('keeps what it held, each pushed once more by its new session', async () => {
      const [one, two] = await openPair()
      const ann = await join(one, 'ann')
      await join(two, 'ben')
      await storeWork(one, await joinBoss(one), ['m1', 'm2', 'm3'])
      await claim(one, ann, 2)
      await leave(one, ann)
      const back = await join(two, 'ann', { hub: 'hub-2' })
      expect(back.holding).toBe(2)
      expect(await two.queues.resume(NS, 'ann', back.sender.fence)).toEqual([
        { id: 'm1', capability: WORK, text: frame('m1'), attempt: 2, claim: 1 },
        { id: 'm2', capability: WORK, text: frame('m2'), attempt: 2, claim: 1 },
      ])
      expect(await waitingIn(two)).toBe(1)
    })

    test('and what a session held that was displaced', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      const task = await claimOne(core, ann)
      const next = await join(core, 'ann', { proved: true })
      expect(next.holding).toBe(1)
      const [resumed] = await core.queues.resume(NS, 'ann', next.sender.fence)
      expect(resumed).toMatchObject({ id: 'm1', attempt: 2, claim: 1 })
      // The client had it done before it connected anew.
      await core.queues.settle(NS, [holdOf(task)])
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })

    test('resuming again in the same session does not count again', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      for (const attempt of [2, 3]) {
        const { sender } = await join(core, 'ann', { proved: true })
        expect(await core.queues.resume(NS, 'ann', sender.fence)).toMatchObject([{ attempt }])
        expect(await core.queues.resume(NS, 'ann', sender.fence)).toMatchObject([{ attempt }])
      }
    })

    test('a session that is over resumes nothing', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'])
      await claim(core, ann)
      const lost = await join(core, 'ann', { proved: true })
      expect(await core.queues.resume(NS, 'ann', ann.sender.fence)).toEqual([])
      await leave(core, lost)
      expect(await core.queues.resume(NS, 'ann', lost.sender.fence)).toEqual([])
      expect(await core.queues.resume(NS, 'nobody', 1)).toEqual([])
      expect(await core.queues.held(NS, 'ann')).toMatchObject([{ id: 'm1', attempt: 1 }])
    })

    test('what is held is told in the order it was sent, and looking changes nothing', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1', 'm2', 'm3'])
      const [first] = await claim(core, ann, 2)
      if (first === undefined) throw new Error('nothing waits')
      await core.queues.release(NS, releaseOf(ann, first, { cause: 'unpushed' }))
      expect(idsOf(await claim(core, ann, 2))).toEqual(['m1', 'm3'])
      expect(await heldIds(core, 'ann')).toEqual(['m1', 'm2', 'm3'])
      expect(await core.queues.held(NS, 'ann')).toEqual(await core.queues.held(NS, 'ann'))
      expect(await core.queues.held(NS, 'nobody')).toEqual([])
      expect((await join(core, 'ben')).holding).toBe(0)
    })
  })
}
