import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { receiptText } from '../../src/core/receipts.ts'
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
  toQueue,
  type CoreFactory,
  type Joined,
} from '../support/core.ts'
import {
  claim,
  claimOne,
  holdOf,
  joinBoss,
  receiptsOf,
  releaseOf,
  storeWork,
  tickUntil,
  WORK,
} from '../support/work.ts'

const RECEIPT = { receipt: true } as const

/** Stores messages for an agent, for each of which its sender wants a receipt. */
async function ask(core: Core, from: Joined, to: string, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const outcome = await store(core, sendOf(from.sender, toAgent(to), id, RECEIPT))
    expect(outcome).toMatchObject({ outcome: 'stored' })
  }
}

/** What a receipt says, in a few words. */
async function toldTo(core: Core, agentId: string): Promise<string[]> {
  const receipts = await receiptsOf(core, agentId)
  return receipts.map(({ id, agentId: by, status, reason }) =>
    [id, status, reason, 'of', by].filter((word) => word !== null).join(' '),
  )
}

/** What the ports say of receipts. */
export function receiptsSuite({ openCore, openPair }: CoreFactory): void {
  describe('a receipt', () => {
    test('is an entry of the sender’s replies, as receiptText writes it, told to its hub wherever that is', async () => {
      const [one, two] = await openPair()
      const alice = await join(one, 'alice')
      await join(one, 'bob')
      await ask(one, alice, 'bob', ['m1'])
      const ears = await listen(two, 'hub-1')
      const before = Date.now()
      await two.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers: [1] }])
      const [receipt] = await receiptsOf(one, 'alice')
      const at = Date.parse(receipt?.at ?? '')
      expect(at).toBeGreaterThanOrEqual(before - 1)
      expect(at).toBeLessThanOrEqual(Date.now() + 1)
      const text = receiptText({ id: 'm1', agentId: 'bob', status: 'acked', reason: null, at })
      expect(await two.inboxes.read(NS, 'alice', 'replies', 0, 10)).toEqual({
        entries: [{ number: 1, text, expiresAt: null, rejections: 0, dueAt: null }],
        head: 1,
      })
      expect(await ears.settled(two)).toEqual([
        { kind: 'entry', agentId: 'alice', lane: 'replies', number: 1, text, expiresAt: null },
      ])
    })

    test('is settled like any entry, and its own end makes no other', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await ask(core, alice, 'alice', ['m1'])
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      expect((await join(core, 'alice', { proved: true })).pending).toBe(1)
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'replies', numbers: [1] }])
      expect(await core.inboxes.read(NS, 'alice', 'replies', 0, 10)).toEqual({ entries: [], head: 1 })
    })

    test('follows the replies that came before it, whatever inboxMax says', async () => {
      const core = await openCore({ inboxMax: 1 })
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1'])
      await fill(core, alice.sender, toAgent('alice', 'replies'), ['r1', 'r2'])
      await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers: [1] }])
      const { entries } = await core.inboxes.read(NS, 'alice', 'replies', 0, 10)
      expect(entries.slice(0, 2).map(({ text }) => text)).toEqual([frame('r1'), frame('r2')])
      expect(entries[2]).toMatchObject({ number: 3 })
    })

    test('comes to nobody who did not ask for it', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice'), ['m1'])
      await fill(core, alice.sender, toAll(true), ['b1'])
      await storeWork(core, alice, ['w1'])
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      await core.queues.settle(NS, (await claim(core, alice)).map(holdOf))
      expect(await receiptsOf(core, 'alice')).toEqual([])
    })

    test('waits for a sender that is away', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1'])
      await leave(core, alice, { departure: 'keep' })
      const ears = await listen(core, 'hub-1')
      await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers: [1] }])
      expect(await ears.settled(core)).toEqual([])
      expect(await toldTo(core, 'alice')).toEqual(['m1 acked of bob'])
    })

    test('for a sender that is not registered any more is dropped, and those it had as well', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1', 'm2'])
      await ask(core, alice, 'alice', ['m3'])
      await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers: [1] }])
      await leave(core, alice, { departure: 'unregister' })
      await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers: [2] }])
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead.map(({ messageId }) => messageId)).toEqual(['m3'])
      expect(await join(core, 'alice')).toMatchObject({ resumed: false, pending: 0 })
    })
  })

  describe('the receipt of a message in a lane', () => {
    test('is one, however often it is settled', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1', 'm2'])
      for (const numbers of [[2, 2], [1, 2], [1]]) {
        await core.inboxes.settle(NS, [{ agentId: 'bob', lane: 'inbox', numbers }])
      }
      expect(await toldTo(core, 'alice')).toEqual(['m2 acked of bob', 'm1 acked of bob'])
    })

    test('tells in_progress once, and then how it ends', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1', 'm2'])
      await fill(core, alice.sender, toAgent('bob'), ['m3'])
      const inbox = { agentId: 'bob', lane: 'inbox' } as const
      await core.inboxes.progress(NS, { ...inbox, numbers: [1, 3, 4] })
      await core.inboxes.progress(NS, { ...inbox, numbers: [1] })
      await core.inboxes.progress(NS, { ...inbox, agentId: 'nobody', numbers: [1] })
      await core.inboxes.settle(NS, [{ ...inbox, numbers: [1] }])
      await core.inboxes.progress(NS, { ...inbox, numbers: [1] })
      expect(await toldTo(core, 'alice')).toEqual(['m1 in_progress of bob', 'm1 acked of bob'])
      const [progress, final] = await receiptsOf(core, 'alice')
      expect(progress?.receiptId).not.toBe(final?.receiptId)
    })

    test('tells why it was given up', async () => {
      const core = await openCore({ maxAttempts: 2 })
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      await ask(core, alice, 'bob', ['m1', 'm2', 'm3', 'm4'])
      const rejection = { agentId: 'bob', delayMs: 0, reason: null }
      await core.inboxes.reject(NS, 'inbox', { ...rejection, number: 1, requeue: true })
      expect(await toldTo(core, 'alice')).toEqual([])
      await core.inboxes.reject(NS, 'inbox', { ...rejection, number: 1, requeue: true })
      await core.inboxes.reject(NS, 'inbox', {
        ...rejection,
        number: 2,
        requeue: false,
        reason: 'not "mine"\n',
      })
      await core.inboxes.expire(NS, { agentId: 'bob', lane: 'inbox', numbers: [3] })
      await leave(core, bob, { departure: 'unregister' })
      expect(await toldTo(core, 'alice')).toEqual([
        'm1 dead_lettered max_attempts of bob',
        'm2 dead_lettered not "mine"\n of bob',
        'm3 expired of bob',
        'm4 dead_lettered unregistered of bob',
      ])
    })

    test('tells what expired while its agent was away', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, await join(core, 'bob'))
      const expiresAt = Date.now() + 20
      await store(core, sendOf(alice.sender, toAgent('bob'), 'm1', { ...RECEIPT, expiresAt }))
      await expect.poll(() => core.inboxes.expireAbsent(NS, 10), { interval: 5 }).toBe(1)
      expect(await toldTo(core, 'alice')).toEqual(['m1 expired of bob'])
    })

    test('tells that an agent’s name, and with it the agent, was taken', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await leave(core, await join(core, 'bob', { fields: { name: 'worker' } }), { departure: 'keep' })
      await ask(core, alice, 'bob', ['m1'])
      await join(core, 'cid', { fields: { name: 'worker' } })
      expect(await toldTo(core, 'alice')).toEqual(['m1 dead_lettered unregistered of bob'])
    })

    test('tells the end of the retention period', async () => {
      const core = await openCore({ retentionMs: 20 })
      const alice = await join(core, 'alice')
      await leave(core, await join(core, 'bob'), { departure: 'keep' })
      await ask(core, alice, 'bob', ['m1'])
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['bob'])
      await core.registry.expire(NS, 'bob')
      expect(await toldTo(core, 'alice')).toEqual(['m1 dead_lettered retention of bob'])
    })
  })

  describe('the receipt of work', () => {
    test('tells in_progress once, and who acknowledged it', async () => {
      const [one, two] = await openPair()
      const [ann, ben] = [await join(one, 'ann'), await join(two, 'ben')]
      await storeWork(one, await joinBoss(one), ['m1'], RECEIPT)
      const first = await claimOne(one, ann)
      await one.queues.extend(NS, [holdOf(first), holdOf(first)])
      await one.queues.release(NS, releaseOf(ann, first))
      const second = await claimOne(two, ben)
      await two.queues.extend(NS, [holdOf(second), holdOf(first)])
      await two.queues.settle(NS, [holdOf(first), holdOf(second), holdOf(second)])
      await one.queues.settle(NS, [holdOf(first)])
      expect(await toldTo(one, 'boss')).toEqual(['m1 in_progress of ann', 'm1 acked of ben'])
    })

    test('tells why it was given up, and who had it last', async () => {
      const core = await openCore({ maxAttempts: 1, ackTimeoutMs: 50 })
      const boss = await joinBoss(core)
      const ann = await join(core, 'ann')
      await storeWork(core, boss, ['m1', 'm2', 'm3'], RECEIPT)
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
      await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann), { reason: 'broken' }))
      await claim(core, ann)
      await tickUntil(core, 1)
      await storeWork(core, boss, ['m4'], RECEIPT)
      await claim(core, ann)
      await leave(core, ann, { graceMs: 0 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['ann'])
      await core.registry.expire(NS, 'ann')
      expect(await toldTo(core, 'boss')).toEqual([
        'm1 dead_lettered max_attempts of ann',
        'm2 dead_lettered broken of ann',
        'm3 dead_lettered ack_timeout of ann',
        'm4 dead_lettered holder_lost of ann',
      ])
    })

    test('tells of work that nobody had that it expired or was kept for too long', async () => {
      const core = await openCore({ retentionMs: 40 })
      const boss = await joinBoss(core)
      await storeWork(core, boss, ['m1'], { ...RECEIPT, expiresAt: Date.now() - 1 })
      await tickUntil(core, 1)
      await storeWork(core, boss, ['m2'], RECEIPT)
      await tickUntil(core, 1)
      expect(await toldTo(core, 'boss')).toEqual(['m1 expired of', 'm2 dead_lettered retention of'])
    })

    test('tells of work that expired on the way to its worker', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      const expiresAt = Date.now() - 1
      await storeWork(core, await joinBoss(core), ['m1', 'm2'], { ...RECEIPT, expiresAt })
      expect(await claim(core, ann)).toEqual([])
      expect(await toldTo(core, 'boss')).toEqual(['m1 expired of', 'm2 expired of'])
    })

    test('takes no rejection for the end of the time to live, whatever its reason', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, await joinBoss(core), ['m1'], RECEIPT)
      const task = await claimOne(core, ann)
      await core.queues.release(NS, releaseOf(ann, task, { requeue: false, reason: 'expired' }))
      expect(await toldTo(core, 'boss')).toEqual(['m1 dead_lettered expired of ann'])
    })

    test('goes to a worker that sent it to itself', async () => {
      const core = await openCore()
      const ann = await join(core, 'ann')
      await storeWork(core, ann, ['m1', 'm2'], RECEIPT)
      await core.queues.settle(NS, [holdOf(await claimOne(core, ann))])
      expect(await toldTo(core, 'ann')).toEqual(['m1 acked of ann'])
      const task = await claimOne(core, ann)
      await leave(core, ann, { departure: 'unregister' })
      expect(await core.deadLetters.list(NS, null, 10)).toEqual([])
      await core.queues.settle(NS, [holdOf(task)])
      expect(await receiptsOf(core, 'ann')).toEqual([])
    })
  })

  test('a receipt of a failure has the correlation id of the message, and no other', async () => {
    const core = await openCore({ maxAttempts: 1 })
    const alice = await join(core, 'alice')
    const bob = await join(core, 'bob')
    const boss = await joinBoss(core)
    const payload = { correlationId: 'inside', createdAt: 'x', text: ',"correlationId":"text"' }
    const tail = ',"createdAt":"2026-11-21T12:00:00.000Z","traceparent":"00-1-2-01","attempt":1}'
    const textOf = (id: string, inside: unknown, correlation: string) =>
      `{"type":"message","id":"${id}","from":"alice","via":"direct","messageType":"query","payload":${JSON.stringify(inside)}${correlation}${tail}`
    const odd = 'c"\\ü\n,"createdAt":"'
    const texts = [
      textOf('m1', payload, `,"correlationId":${JSON.stringify(odd)}`),
      textOf('m2', payload, ''),
      textOf('m3', ',"correlationId":"text"', ''),
      textOf('m4', 1, ',"correlationId":"c4"'),
    ]
    for (const text of texts)
      await store(core, sendOf(alice.sender, toAgent('bob'), '', { text, ...RECEIPT }))
    const rejection = { agentId: 'bob', delayMs: 0, requeue: false, reason: 'no' }
    for (const number of [1, 2]) await core.inboxes.reject(NS, 'inbox', { ...rejection, number })
    await core.inboxes.expire(NS, { agentId: 'bob', lane: 'inbox', numbers: [3] })
    await leave(core, bob, { departure: 'unregister' })
    const told = async (agentId: string) =>
      (await receiptsOf(core, agentId)).map((receipt) => [receipt.id, receipt.correlationId])
    expect(await told('alice')).toEqual([
      ['m1', odd],
      ['m2', undefined],
      ['m3', undefined],
      ['m4', 'c4'],
    ])
    const ann = await join(core, 'ann')
    const work = textOf('w1', 1, ',"correlationId":"c1"')
    await store(core, sendOf(boss.sender, toQueue(WORK), '', { text: work, ...RECEIPT }))
    await core.queues.release(NS, releaseOf(ann, await claimOne(core, ann)))
    expect(await told('boss')).toEqual([['w1', 'c1']])
  })

  describe('a receipt of failures only', () => {
    const FAILURE = { receipt: 'failure' } as const

    test('tells nothing of a message in a lane that is worked on and ends well, and leaves nothing', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await join(core, 'bob')
      const send = (id: string, receipt: boolean | 'failure') =>
        store(core, sendOf(alice.sender, toAgent('bob'), id, { receipt }))
      await send('m1', 'failure')
      await send('m2', 'failure')
      await send('m3', true)
      await send('m4', false)
      await send('m5', 'failure')
      const inbox = { agentId: 'bob', lane: 'inbox' } as const
      await core.inboxes.progress(NS, { ...inbox, numbers: [1, 5] })
      await core.inboxes.settle(NS, [{ ...inbox, numbers: [1] }])
      expect(await toldTo(core, 'alice')).toEqual([])
      await core.inboxes.settle(NS, [{ ...inbox, numbers: [2, 3, 4] }])
      expect(await toldTo(core, 'alice')).toEqual(['m3 acked of bob'])
      // What is settled is forgotten: it is not told again.
      await core.inboxes.settle(NS, [{ ...inbox, numbers: [1, 2] }])
      const rejection = { agentId: 'bob', number: 5, delayMs: 0, requeue: false, reason: 'no' }
      await core.inboxes.reject(NS, 'inbox', rejection)
      expect(await toldTo(core, 'alice')).toEqual(['m3 acked of bob', 'm5 dead_lettered no of bob'])
      expect(await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)).toMatchObject({ entries: [] })
    })

    test('tells every failure of a message in a lane, also to the leader', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      for (const id of ['m1', 'm2', 'm3'])
        await store(core, sendOf(alice.sender, toAgent('bob'), id, FAILURE))
      const rejection = { agentId: 'bob', number: 1, delayMs: 0, requeue: true, reason: null }
      await core.inboxes.reject(NS, 'inbox', rejection)
      await core.inboxes.expire(NS, { agentId: 'bob', lane: 'inbox', numbers: [2] })
      await leave(core, bob, { departure: 'unregister' })
      expect(await toldTo(core, 'alice')).toEqual([
        'm1 dead_lettered max_attempts of bob',
        'm2 expired of bob',
        'm3 dead_lettered unregistered of bob',
      ])
    })

    test('tells nothing of work that ends well, and how it fails', async () => {
      const core = await openCore({ maxAttempts: 1 })
      const ann = await join(core, 'ann')
      const boss = await joinBoss(core)
      await storeWork(core, boss, ['m1', 'm2'], FAILURE)
      const first = await claimOne(core, ann)
      await core.queues.extend(NS, [holdOf(first)])
      await core.queues.settle(NS, [holdOf(first)])
      const second = await claimOne(core, ann)
      await core.queues.extend(NS, [holdOf(second)])
      expect(await toldTo(core, 'boss')).toEqual([])
      await core.queues.release(NS, releaseOf(ann, second, { reason: 'broken' }))
      await storeWork(core, boss, ['m3'], { ...FAILURE, expiresAt: Date.now() - 1 })
      await tickUntil(core, 1)
      expect(await toldTo(core, 'boss')).toEqual(['m2 dead_lettered broken of ann', 'm3 expired of'])
    })
  })
}
