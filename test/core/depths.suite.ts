import { describe, expect, test } from 'vitest'
import type { QueueDepth } from '../../src/core/queues.ts'
import {
  type CoreFactory,
  fill,
  frame,
  join,
  leave,
  NS,
  sendOf,
  store,
  toAgent,
  toAll,
  toQueue,
} from '../support/core.ts'
import { claimOne, holdOf, joinBoss, releaseOf, storeWork, WORK } from '../support/work.ts'

const EMPTY = { entries: 0, oldest: null }

/** What the ports say of how full things are, and who lives. */
export function depthsSuite({ openCore, openPair }: CoreFactory): void {
  describe('the depth of an inbox', () => {
    test('is how many entries of each lane are not acknowledged, with the oldest', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      expect(await two.inboxes.depth(NS, 'alice')).toEqual({ inbox: EMPTY, replies: EMPTY })
      await fill(one, sender, toAgent('alice'), ['m1', 'm2', 'm3'])
      await fill(one, sender, toAgent('alice', 'replies'), ['r1'])
      await one.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      expect(await two.inboxes.depth(NS, 'alice')).toEqual({
        inbox: { entries: 2, oldest: frame('m2') },
        replies: { entries: 1, oldest: frame('r1') },
      })
    })

    test('is null of an agent that is not registered', async () => {
      const core = await openCore()
      expect(await core.inboxes.depth(NS, 'alice')).toBeNull()
      await join(core, 'alice')
      expect(await core.inboxes.depth(NS, 'bob')).toBeNull()
    })
  })

  describe('the depth of work queues', () => {
    test('tells what waits, what is delayed, what agents hold, and since when the oldest waits', async () => {
      const [one, two] = await openPair()
      expect(await two.queues.list(NS, null, 10)).toEqual([])
      const boss = await joinBoss(one)
      const ann = await join(one, 'ann')
      const before = Date.now()
      await storeWork(one, boss, ['m1', 'm2', 'm3', 'm4'])
      const held = await claimOne(one, ann)
      await one.queues.release(NS, releaseOf(ann, await claimOne(one, ann), { delayMs: 3_600_000 }))
      const [depth] = await two.queues.list(NS, null, 10)
      const numbers = { capability: WORK, entries: 4, waiting: 2, delayed: 1, inProgress: 1 }
      expect(depth).toEqual({ ...numbers, oldestAt: expect.any(Number) })
      expect(Math.abs((depth?.oldestAt ?? 0) - before)).toBeLessThan(10_000)
      await one.queues.settle(NS, [holdOf(held)])
      expect(await two.queues.list(NS, null, 10)).toMatchObject([{ entries: 3, inProgress: 0 }])
    })

    test('the oldest may be one that an agent gave back, and where none waits there is none', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      const ann = await join(core, 'ann')
      await storeWork(core, boss, ['m1'])
      const [first] = await core.queues.list(NS, null, 10)
      const held = await claimOne(core, ann)
      const [none] = await core.queues.list(NS, null, 10)
      expect(none).toMatchObject({ waiting: 0, inProgress: 1, oldestAt: null })
      await new Promise((resolve) => setTimeout(resolve, 5))
      await storeWork(core, boss, ['m2'])
      const [second] = await core.queues.list(NS, null, 10)
      expect(second?.oldestAt).toBeGreaterThan(first?.oldestAt ?? 0)
      await core.queues.release(NS, releaseOf(ann, held))
      expect(await core.queues.list(NS, null, 10)).toMatchObject([
        { waiting: 2, oldestAt: first?.oldestAt ?? 0 },
      ])
    })

    test('queues come in order, page by page; empty ones are not among them', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      const capabilities = ['b', 'a', 'ab', 'ü', '1:w', 'c']
      for (const one of capabilities)
        await store(core, sendOf(boss.sender, toQueue(one), `m-${one.length}${one}`))
      const names = (depths: readonly QueueDepth[]): string[] => depths.map(({ capability }) => capability)
      const sorted = capabilities.toSorted()
      expect(names(await core.queues.list(NS, null, 100))).toEqual(sorted)
      expect(names(await core.queues.list(NS, null, 2))).toEqual(sorted.slice(0, 2))
      expect(names(await core.queues.list(NS, sorted[1] ?? '', 3))).toEqual(sorted.slice(2, 5))
      for (const depth of await core.queues.list(NS, null, 100))
        expect(depth).toMatchObject({ entries: 1, waiting: 1, delayed: 0, inProgress: 0 })
      expect(await core.queues.list(NS, 'ü', 3)).toEqual([])
      expect(await core.queues.list('other', null, 3)).toEqual([])
    })
  })

  describe('the hubs that live', () => {
    test('are those whose lease has not run out, with what is left of it and their namespaces', async () => {
      const [one, two] = await openPair({ hubLeaseMs: 60_000 })
      expect(await one.leases.live()).toEqual([])
      await one.leases.renew('hub-1', ['one', 'two'])
      await two.leases.renew('hub-2', [])
      const live = (await two.leases.live()).toSorted((a, b) => (a.hub < b.hub ? -1 : 1))
      const leaseMs = expect.any(Number)
      expect(live.map(({ namespaces, ...rest }) => ({ ...rest, namespaces: namespaces.toSorted() }))).toEqual(
        [
          { hub: 'hub-1', leaseMs, namespaces: ['one', 'two'] },
          { hub: 'hub-2', leaseMs, namespaces: [] },
        ],
      )
      for (const hub of live) {
        expect(hub.leaseMs).toBeGreaterThan(30_000)
        expect(hub.leaseMs).toBeLessThanOrEqual(60_000)
      }
      await one.leases.forget('hub-1')
      expect(await two.leases.live()).toMatchObject([{ hub: 'hub-2' }])
    })

    test('are not those whose lease has run out', async () => {
      const core = await openCore({ hubLeaseMs: 20 })
      await core.leases.renew('hub-1', [])
      await expect.poll(() => core.leases.live(), { interval: 5 }).toEqual([])
      expect(await core.leases.expired()).toHaveLength(1)
    })
  })

  describe('the agents of a hub', () => {
    test('are those whose live session is there', async () => {
      const [one, two] = await openPair()
      expect((await two.registry.connectedByHub(NS)).size).toBe(0)
      for (let i = 0; i < 1_500; i++) await join(one, `a${i}`, { hub: i % 3 === 0 ? 'hub-1' : 'hub-2' })
      const gone = await join(one, 'gone', { hub: 'hub-3' })
      await leave(one, gone)
      expect([...(await two.registry.connectedByHub(NS))].toSorted()).toEqual([
        ['hub-1', 500],
        ['hub-2', 1_000],
      ])
    })
  })

  describe('an operator without a session', () => {
    const operator = (agentId: string) =>
      ({ agentId, fence: 0, hub: 'hub-1', producer: null, door: 'operator' }) as const

    test('sends to agents, queues and everybody under an id that nobody has', async () => {
      const [one, two] = await openPair()
      await join(one, 'alice')
      expect(await store(two, sendOf(operator('http'), toAgent('alice'), 'm1'))).toMatchObject({
        outcome: 'stored',
        agentId: 'alice',
      })
      expect(await store(two, sendOf(operator('http'), toQueue(WORK), 'm2'))).toMatchObject({
        outcome: 'queued',
        recipients: 1,
      })
      expect(await store(two, sendOf(operator('http'), toAll(), 'm3'))).toMatchObject({
        outcome: 'broadcast',
        recipients: 1,
      })
      const expiresAt = Date.now() + 60_000
      await store(two, sendOf(operator('http'), toAgent('alice'), 'm4', { expiresAt }))
      const { entries } = await one.inboxes.read(NS, 'alice', 'inbox', 0, 10)
      expect(entries).toMatchObject([
        { text: frame('m1'), expiresAt: null },
        { text: frame('m4'), expiresAt },
      ])
    })

    test('never speaks for an agent, be it connected, away or one that lives by heartbeats', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const { registration } = (await core.registry.snapshot(NS)).agents[0] ?? {}
      if (registration === undefined) throw new Error('alice is not there')
      await core.registry.enrol(NS, {
        agentId: 'carol',
        registration: { ...registration, name: 'carol', transport: 'http' },
        door: 'http',
        staleMs: 60_000,
      })
      for (const id of ['alice', 'carol'])
        expect(await store(core, sendOf(operator(id), toAgent('alice'), 'm1'))).toEqual({ outcome: 'fenced' })
      await leave(core, alice, { departure: 'keep' })
      expect(await store(core, sendOf(operator('alice'), toAgent('carol'), 'm2'))).toEqual({
        outcome: 'fenced',
      })
    })
  })
}
