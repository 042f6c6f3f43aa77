import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Redrive } from '../../src/core/dead-letters.ts'
import {
  fill,
  frame,
  join,
  leave,
  listen,
  NS,
  sendOf,
  store,
  toAgent,
  toAll,
  type CoreFactory,
} from '../support/core.ts'
import {
  claim,
  claimOne,
  holdOf,
  idsOf,
  joinBoss,
  receiptsOf,
  releaseOf,
  storeWork,
  waitingIn,
  WORK,
} from '../support/work.ts'

const response = (id: string): string =>
  `{"type":"message","id":"${id}","messageType":"response","payload":"inbox","attempt":1}`

/** Redrives as they are for the dead letters there are. */
async function allOf(core: Core): Promise<Redrive[]> {
  const dead = await core.deadLetters.list(NS, null, 1000)
  return dead.map(({ position, text }) => ({ position, text, expiresAt: null }))
}

const deadIds = async (core: Core): Promise<(string | null)[]> =>
  (await core.deadLetters.list(NS, null, 1000)).map(({ messageId }) => messageId)

/** Gives up messages of alice, who is registered. */
async function giveUp(core: Core, ids: readonly string[]): Promise<void> {
  const { sender } = await join(core, 'alice', { proved: true })
  const { head } = await core.inboxes.read(NS, 'alice', 'inbox', 0, 1)
  await fill(core, sender, toAgent('alice'), ids)
  const numbers = ids.map((_, index) => head + index + 1)
  await core.inboxes.expire(NS, { agentId: 'alice', lane: 'inbox', numbers })
}

/** Second chances, and the end of dead letters: what the port `DeadLetters` says. */
export function redriveSuite({ openCore, openPair }: CoreFactory): void {
  describe('redriving', () => {
    test('a message is stored at the end of its lane once more, and is a dead letter no more', async () => {
      const [one, two] = await openPair()
      await giveUp(one, ['m1', 'm2'])
      const { sender } = await join(one, 'alice', { proved: true, hub: 'hub-2' })
      await fill(one, sender, toAgent('alice'), ['m3'])
      const ears = await listen(two, 'hub-2')
      const [first] = await allOf(two)
      if (first === undefined) throw new Error('nothing was given up')
      const expiresAt = 4_000_000_000_000
      expect(await two.deadLetters.redrive(NS, [{ ...first, text: frame('m1', 'anew'), expiresAt }])).toEqual(
        ['redriven'],
      )
      expect(await deadIds(one)).toEqual(['m2'])
      const entry = { number: 4, text: frame('m1', 'anew'), expiresAt }
      const { entries } = await one.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      expect(entries).toMatchObject([{ number: 3 }, { ...entry, rejections: 0, dueAt: null }])
      expect(await ears.settled(two)).toEqual([{ kind: 'entry', agentId: 'alice', lane: 'inbox', ...entry }])
      expect(await two.deadLetters.redrive(NS, [first])).toEqual(['gone'])
    })

    test('a response goes to the replies again', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const text = response('r1')
      await store(core, sendOf(sender, toAgent('alice', 'replies'), 'r1', { text }))
      await core.inboxes.expire(NS, { agentId: 'alice', lane: 'replies', numbers: [1] })
      expect(await core.deadLetters.redrive(NS, await allOf(core))).toEqual(['redriven'])
      expect((await core.inboxes.read(NS, 'alice', 'replies', 0, 10)).entries).toMatchObject([
        { number: 2, text },
      ])
      expect((await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).entries).toEqual([])
    })

    test('a broadcast that an agent gave up goes to its inbox', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(true), ['b1'])
      const rejection = { agentId: 'alice', number: 1, requeue: false, delayMs: 0, reason: null }
      await core.broadcasts.reject(NS, rejection)
      expect(await core.deadLetters.redrive(NS, await allOf(core))).toEqual(['redriven'])
      expect((await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).entries).toMatchObject([
        { text: frame('b1') },
      ])
    })

    test('work is stored at the end of its queue, as if it had never failed', async () => {
      const [one, two] = await openPair({ maxAttempts: 2 })
      const ann = await join(one, 'ann')
      await join(two, 'ben')
      const boss = await joinBoss(one)
      await storeWork(one, boss, ['m1'], { receipt: true })
      const task = await claimOne(one, ann)
      await one.queues.release(NS, releaseOf(ann, task, { requeue: false }))
      await storeWork(one, boss, ['m2'])
      const ears = await listen(two, 'hub-2')
      expect(await one.deadLetters.redrive(NS, await allOf(one))).toEqual(['redriven'])
      expect(await ears.settled(one)).toEqual([{ kind: 'queued', capabilities: [WORK] }])
      // The one that lost it last is not passed over any more, and what it said before does not end it.
      const tasks = await claim(two, ann, 2)
      expect(idsOf(tasks)).toEqual(['m2', 'm1'])
      expect(tasks[1]).toMatchObject({ text: frame('m1'), attempt: 1 })
      expect(await two.queues.release(NS, releaseOf(ann, tasks[1] ?? task))).toMatchObject({
        outcome: 'requeued',
      })
      await two.queues.settle(NS, (await claim(two, await join(two, 'ben', { proved: true }))).map(holdOf))
      // It had its final receipt.
      expect(await receiptsOf(one, 'boss')).toHaveLength(1)
      expect(await one.deadLetters.count(NS)).toEqual({ kept: 0, dropped: 0 })
    })

    test('work waits for somebody who can do it, if need be', async () => {
      const core = await openCore({ retentionMs: 30 })
      await storeWork(core, await joinBoss(core), ['m1'])
      const dead = async (): Promise<number> => (await core.deadLetters.count(NS)).kept
      const tick = async (): Promise<number> => {
        await core.queues.tick(NS, 10)
        return dead()
      }
      await expect.poll(tick, { interval: 5 }).toBe(1)
      expect(await core.deadLetters.redrive(NS, await allOf(core))).toEqual(['redriven'])
      expect(await waitingIn(core)).toBe(1)
      await expect.poll(tick, { interval: 5 }).toBe(1)
    })

    test('what cannot be stored stays a dead letter', async () => {
      const core = await openCore({ inboxMax: 1, queueMax: 1, broadcastMax: 1 })
      const ann = await join(core, 'ann')
      await giveUp(core, ['m1'])
      const bob = await join(core, 'bob')
      await fill(core, bob.sender, toAgent('bob'), ['m2'])
      await core.inboxes.expire(NS, { agentId: 'bob', lane: 'inbox', numbers: [1] })
      await storeWork(core, ann, ['m3'])
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { requeue: false }))
      await fill(core, ann.sender, toAll(), ['b1', 'b2'])
      await core.broadcasts.open(NS, 'alice')
      const redrives = await allOf(core)
      expect(await deadIds(core)).toEqual(['m1', 'm2', 'm3', null])
      await fill(core, bob.sender, toAgent('alice'), ['m4'])
      await leave(core, bob, { departure: 'unregister' })
      await storeWork(core, ann, ['m5'])
      const before = await core.deadLetters.list(NS, null, 10)
      expect(await core.deadLetters.redrive(NS, redrives)).toEqual([
        'inbox_full',
        'unknown_target',
        'inbox_full',
        'not_a_message',
      ])
      expect(await core.deadLetters.list(NS, null, 10)).toEqual(before)
      expect(await core.queues.size(NS, WORK)).toBe(1)
    })

    test('many are redriven by one call, each answered in its place', async () => {
      const core = await openCore({ inboxMax: 2 })
      await giveUp(core, ['m1', 'm2'])
      await giveUp(core, ['m3'])
      const [first, second, third] = await allOf(core)
      if (!first || !second || !third) throw new Error('nothing was given up')
      const unknown = { ...first, position: 'nothing' }
      expect(await core.deadLetters.redrive(NS, [third, unknown, first, first, second])).toEqual([
        'redriven',
        'gone',
        'redriven',
        'gone',
        'inbox_full',
      ])
      const { entries } = await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      expect(entries.map(({ text }) => text)).toEqual([frame('m3'), frame('m1')])
      expect(await deadIds(core)).toEqual(['m2'])
      expect(await core.deadLetters.redrive('other', [first])).toEqual(['gone'])
    })

    test('nobody is told of an entry for an agent that is not connected', async () => {
      const core = await openCore()
      await giveUp(core, ['m1'])
      await leave(core, await join(core, 'alice', { proved: true }))
      const ears = await listen(core, 'hub-1')
      expect(await core.deadLetters.redrive(NS, await allOf(core))).toEqual(['redriven'])
      expect(await ears.settled(core)).toEqual([])
      expect(await join(core, 'alice')).toMatchObject({ pending: 1 })
    })

    test('a redriven message may be given up again', async () => {
      const core = await openCore()
      await giveUp(core, ['m1'])
      const [redrive] = await allOf(core)
      if (redrive === undefined) throw new Error('nothing was given up')
      await core.deadLetters.redrive(NS, [redrive])
      await core.inboxes.expire(NS, { agentId: 'alice', lane: 'inbox', numbers: [2] })
      expect(await deadIds(core)).toEqual(['m1'])
      expect((await allOf(core))[0]?.position).not.toBe(redrive.position)
    })
  })

  describe('counting and purging', () => {
    test('what is kept is counted, and what deadMax pushed out', async () => {
      const [one, two] = await openPair({ deadMax: 2 })
      expect(await one.deadLetters.count(NS)).toEqual({ kept: 0, dropped: 0 })
      await giveUp(one, ['m1', 'm2'])
      expect(await two.deadLetters.count(NS)).toEqual({ kept: 2, dropped: 0 })
      await giveUp(one, ['m3', 'm4', 'm5'])
      expect(await two.deadLetters.count(NS)).toEqual({ kept: 2, dropped: 3 })
      expect(await deadIds(two)).toEqual(['m4', 'm5'])
    })

    test('purging deletes, answers how many there were, and is no loss', async () => {
      const [one, two] = await openPair({ deadMax: 3 })
      await giveUp(one, ['m1', 'm2', 'm3'])
      const [first, second] = await allOf(one)
      if (first === undefined || second === undefined) throw new Error('nothing was given up')
      const positions = [second.position, 'nothing', second.position, first.position]
      expect(await two.deadLetters.purge(NS, positions)).toBe(2)
      expect(await two.deadLetters.purge(NS, positions)).toBe(0)
      expect(await two.deadLetters.purge('other', positions)).toBe(0)
      expect(await deadIds(one)).toEqual(['m3'])
      expect(await one.deadLetters.count(NS)).toEqual({ kept: 1, dropped: 0 })
      // There is room again for as many.
      await giveUp(one, ['m4', 'm5'])
      expect(await one.deadLetters.count(NS)).toEqual({ kept: 3, dropped: 0 })
      await giveUp(one, ['m6'])
      expect(await deadIds(one)).toEqual(['m4', 'm5', 'm6'])
      expect(await one.deadLetters.count(NS)).toEqual({ kept: 3, dropped: 1 })
    })

    test('the list goes on after a position that was purged', async () => {
      const core = await openCore()
      await giveUp(core, ['m1', 'm2', 'm3', 'm4'])
      const all = await core.deadLetters.list(NS, null, 10)
      const position = all[1]?.position ?? ''
      await core.deadLetters.purge(NS, [position, all[2]?.position ?? ''])
      expect(await core.deadLetters.list(NS, position, 10)).toEqual([all[3]])
      expect(await core.deadLetters.list(NS, null, 10)).toEqual([all[0], all[3]])
    })
  })
}
