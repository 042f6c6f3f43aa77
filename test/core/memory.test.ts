import { describe, expect, test } from 'vitest'
import { createMemoryCore } from '../../src/core/memory/core.ts'
import { memoryFactory } from '../support/core-factories.ts'
import { CORE_LIMITS, frame, join, kindsOf, leave, NS, sendOf, store, toAgent } from '../support/core.ts'
import { claim, claimOne, holdOf, joinBoss, releaseOf, storeWork, WORK } from '../support/work.ts'
import { coreSuites } from './suites.ts'

describe('the core in memory', () => {
  coreSuites(memoryFactory)

  test('every time comes from the clock it was given', async () => {
    let now = 1_000
    const limits = { ...CORE_LIMITS, retentionMs: 500, hubLeaseMs: 100 }
    const core = createMemoryCore({ limits, now: () => now })
    const { registry, leases, inboxes, deadLetters } = core
    await leases.renew('hub-1', [])
    const alice = await join(core, 'alice', { fields: { leaderEligible: false } })
    expect(alice.events[0]).toMatchObject({ at: 1_000, revision: 1_000_000 })
    await leave(core, alice, { graceMs: 50 })
    const bob = await join(core, 'bob', { fields: { leaderEligible: false } })
    await store(core, sendOf(bob.sender, toAgent('alice'), 'm1', { expiresAt: 1_200 }))

    now = 1_049
    expect(await registry.due(NS, 10)).toEqual([])
    now = 1_050
    expect(await registry.due(NS, 10)).toEqual(['alice'])
    expect(await registry.expire(NS, 'alice')).toMatchObject([{ at: 1_050, new: 'offline' }])
    now = 1_099
    expect(await leases.expired()).toEqual([])
    now = 1_100
    expect(await leases.expired()).toEqual([{ hub: 'hub-1', namespaces: [] }])
    now = 1_199
    expect(await inboxes.expireAbsent(NS, 10)).toBe(0)
    now = 1_200
    expect(await inboxes.expireAbsent(NS, 10)).toBe(1)
    expect(await deadLetters.list(NS, null, 10)).toMatchObject([{ at: 1_200, text: frame('m1') }])
    now = 1_549
    expect(await registry.due(NS, 10)).toEqual([])
    now = 1_550
    expect(kindsOf(await registry.expire(NS, 'alice'))).toEqual(['agent.unregistered'])
  })

  test('so does every time of work', async () => {
    let now = 1_000
    const limits = { ...CORE_LIMITS, ackTimeoutMs: 100, retentionMs: 500 }
    const core = createMemoryCore({ limits, now: () => now })
    const { queues, deadLetters } = core
    const reasonsOf = async (): Promise<string[]> =>
      (await deadLetters.list(NS, null, 10)).map(
        ({ messageId, reason, at }) => `${messageId} ${reason} ${at}`,
      )
    const ann = await join(core, 'ann')
    const boss = await joinBoss(core)

    await storeWork(core, boss, ['m1'])
    const task = await claimOne(core, ann)
    now = 1_050
    await queues.extend(NS, [holdOf(task)])
    now = 1_149
    expect(await queues.tick(NS, 10)).toBe(0)
    now = 1_150
    expect(await queues.tick(NS, 10)).toBe(1)
    const release = releaseOf(ann, await claimOne(core, ann), { delayMs: 30 })
    expect(await queues.release(NS, release)).toEqual({ outcome: 'requeued', dueAt: 1_180 })
    now = 1_179
    expect(await queues.tick(NS, 10)).toBe(0)
    now = 1_180
    expect(await queues.tick(NS, 10)).toBe(1)
    await queues.settle(NS, [holdOf(await claimOne(core, ann))])

    await storeWork(core, boss, ['m2', 'm3'], { expiresAt: 1_200 })
    now = 1_199
    expect(await queues.tick(NS, 10)).toBe(0)
    now = 1_200
    expect(await claim(core, ann)).toEqual([])
    expect(await queues.tick(NS, 10)).toBe(0)
    expect(await reasonsOf()).toEqual(['m2 expired 1200', 'm3 expired 1200'])

    await storeWork(core, boss, ['m4'])
    await leave(core, ann, { departure: 'unregister' })
    now = 1_300
    await storeWork(core, boss, ['m5'])
    now = 1_699
    expect(await queues.tick(NS, 10)).toBe(0)
    now = 1_700
    expect(await queues.tick(NS, 10)).toBe(1)
    now = 1_799
    expect(await queues.tick(NS, 10)).toBe(0)
    now = 1_800
    expect(await queues.tick(NS, 10)).toBe(1)
    expect((await reasonsOf()).slice(2)).toEqual(['m4 retention 1700', 'm5 retention 1800'])
  })

  test('a namespace with work that waits is not forgotten', async () => {
    const core = await memoryFactory.openCore()
    const boss = await joinBoss(core)
    await storeWork(core, boss, ['m1'])
    await leave(core, boss, { departure: 'unregister' })
    const subscription = await core.bus.subscribe(
      NS,
      'hub-1',
      () => undefined,
      () => undefined,
    )
    await subscription.close()
    expect(await core.queues.size(NS, WORK)).toBe(1)
  })

  test('a namespace that nobody is in and no hub listens to is forgotten, and begins anew with greater revisions', async () => {
    let now = 1_000
    const core = createMemoryCore({ limits: CORE_LIMITS, now: () => now })
    const listen = () =>
      core.bus.subscribe(
        NS,
        'hub-1',
        () => undefined,
        () => undefined,
      )
    const first = await listen()
    expect((await core.registry.snapshot(NS)).revision).toBe(1_000_000)
    now = 2_000
    await first.close()
    expect((await core.registry.snapshot(NS)).revision).toBe(2_000_000)
    const second = await listen()
    await join(core, 'alice')
    await second.close()
    expect((await core.registry.snapshot(NS)).agents).toHaveLength(1)
  })

  test('an operation has taken effect when the call returns', async () => {
    const core = await memoryFactory.openCore()
    const { sender } = await join(core, 'alice')
    const stored = store(core, sendOf(sender, toAgent('alice'), 'm1'))
    const read = core.inboxes.read(NS, 'alice', 'inbox', 0, 10)
    expect(await read).toMatchObject({ head: 1, entries: [{ text: frame('m1') }] })
    expect(await stored).toMatchObject({ outcome: 'stored' })
  })
})
