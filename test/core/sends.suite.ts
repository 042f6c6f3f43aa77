import { describe, expect, test } from 'vitest'
import type { Destination, Sender } from '../../src/core/sends.ts'
import {
  fill,
  frame,
  join,
  leave,
  listen,
  NS,
  registration,
  sendOf,
  store,
  toAgent,
  toAll,
  toLeader,
  toName,
  transient,
  type CoreFactory,
} from '../support/core.ts'

const toGroup = (value: string, echo = false): Destination => ({ kind: 'members', of: 'group', value, echo })
const toCapable = (value: string): Destination => ({ kind: 'members', of: 'capability', value, echo: false })

/** Targets, order and fences: what the port `Sends` says of storing. */
export function sendsSuite({ openCore, openPair }: CoreFactory): void {
  describe('storing', () => {
    test('a message to an agent is an entry of its lane, numbered from 1', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await join(one, 'bob')
      const to = toAgent('bob')
      expect(
        await one.sends.store(NS, [
          sendOf(sender, to, 'm1'),
          sendOf(sender, to, 'm2', { expiresAt: 4_000_000_000_000 }),
          sendOf(sender, toAgent('bob', 'replies'), 'r1'),
        ]),
      ).toEqual([
        { outcome: 'stored', agentId: 'bob', number: 1 },
        { outcome: 'stored', agentId: 'bob', number: 2 },
        { outcome: 'stored', agentId: 'bob', number: 1 },
      ])
      const { entries, head } = await two.inboxes.read(NS, 'bob', 'inbox', 0, 10)
      expect(head).toBe(2)
      expect(entries).toEqual([
        { number: 1, text: frame('m1'), expiresAt: null, rejections: 0, dueAt: null },
        { number: 2, text: frame('m2'), expiresAt: 4_000_000_000_000, rejections: 0, dueAt: null },
      ])
      expect((await two.inboxes.read(NS, 'bob', 'replies', 0, 10)).entries).toMatchObject([
        { text: frame('r1') },
      ])
    })

    test('an agent that is offline gets its entry all the same', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await leave(core, await join(core, 'bob'), { departure: 'keep' })
      expect(await store(core, sendOf(sender, toAgent('bob'), 'm1'))).toMatchObject({ outcome: 'stored' })
    })

    test('an agent may send to itself', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      expect(await store(core, sendOf(sender, toAgent('alice'), 'm1'))).toMatchObject({
        outcome: 'stored',
        number: 1,
      })
    })

    test('an id or a name that nobody has is refused with unknown_target', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const expected = { outcome: 'refused', code: 'unknown_target', repeated: false }
      for (const to of [toAgent('bob'), toAgent(''), toName('bob', ''), toName('bob', 'bob')]) {
        expect(await store(core, sendOf(sender, to, 'm1'))).toEqual(expected)
      }
    })

    test('a name that is another agent than the hub thought has moved', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      await join(core, 'bob', { fields: { name: 'worker' } })
      for (const guess of ['', 'alice', 'nobody']) {
        expect(await store(core, sendOf(sender, toName('worker', guess), 'm1'))).toEqual({
          outcome: 'moved',
          agentId: 'bob',
        })
      }
      expect(await store(core, sendOf(sender, toName('worker', 'bob'), 'm1'))).toMatchObject({
        outcome: 'stored',
        agentId: 'bob',
        number: 1,
      })
    })

    test('a message to the leader reaches the one that leads now', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob', { fields: { leaderEligible: false } })
      expect(await store(core, sendOf(bob.sender, toLeader('alice'), 'm1'))).toMatchObject({
        agentId: 'alice',
        number: 1,
      })
      for (const guess of ['', 'bob']) {
        const outcome = await store(core, sendOf(bob.sender, toLeader(guess), 'm2'))
        expect(outcome).toEqual({ outcome: 'moved', agentId: 'alice' })
      }
      await leave(core, alice, { departure: 'keep' })
      for (const guess of ['', 'alice']) {
        const outcome = await store(core, sendOf(bob.sender, toLeader(guess), 'm3'))
        expect(outcome).toEqual({ outcome: 'refused', code: 'no_leader', repeated: false })
      }
    })

    test('what a sender hands in behind a moved send is postponed, other senders go on', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { producer: 'p' })
      const bob = await join(core, 'bob')
      const outcomes = await core.sends.store(NS, [
        sendOf(alice.sender, toAgent('bob'), 'm1', { seq: 1 }),
        sendOf(alice.sender, toName('bob', ''), 'm2', { seq: 2 }),
        sendOf(alice.sender, toAgent('bob'), 'm3', { seq: 3 }),
        sendOf(bob.sender, toAgent('bob'), 'm4'),
        sendOf(alice.sender, toAll(), 'm5', { seq: 4 }),
      ])
      expect(outcomes.map(({ outcome }) => outcome)).toEqual([
        'stored',
        'moved',
        'postponed',
        'stored',
        'postponed',
      ])
      const { entries } = await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)
      expect(entries.map(({ text }) => text)).toEqual([frame('m1'), frame('m4')])
      expect(
        await core.sends.store(NS, [
          sendOf(alice.sender, toName('bob', 'bob'), 'm2', { seq: 2 }),
          sendOf(alice.sender, toAgent('bob'), 'm3', { seq: 3 }),
        ]),
      ).toMatchObject([{ outcome: 'stored' }, { outcome: 'stored' }])
    })

    test('calls take effect in the order they are made', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      const ids = Array.from({ length: 20 }, (_, index) => `m${index}`)
      await Promise.all(ids.map((id) => store(core, sendOf(sender, toAgent('alice'), id))))
      const { entries } = await core.inboxes.read(NS, 'alice', 'inbox', 0, 100)
      expect(entries.map(({ text }) => text)).toEqual(ids.map((id) => frame(id)))
    })

    test('a session that is over sends nothing more', async () => {
      const core = await openCore()
      await join(core, 'bob')
      const displaced = await join(core, 'alice')
      const lost = await join(core, 'alice', { proved: true })
      expect(await store(core, sendOf(displaced.sender, toAgent('bob'), 'm1'))).toEqual({ outcome: 'fenced' })
      await leave(core, lost)
      expect(await store(core, sendOf(lost.sender, toAgent('bob'), 'm2'))).toEqual({ outcome: 'fenced' })
      await leave(core, lost, { departure: 'unregister' })
      expect(await store(core, sendOf(lost.sender, toAll(), 'm3'))).toEqual({ outcome: 'fenced' })
      expect(await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)).toEqual({ entries: [], head: 0 })
    })

    test('an inbox holds inboxMax entries, settling makes room, replies have no limit', async () => {
      const core = await openCore({ inboxMax: 2 })
      const { sender } = await join(core, 'alice')
      const full = { outcome: 'refused', code: 'inbox_full', repeated: false }
      const batch = ['m1', 'm2', 'm3'].map((id) => sendOf(sender, toAgent('alice'), id))
      expect(await core.sends.store(NS, batch)).toMatchObject([{ number: 1 }, { number: 2 }, full])
      const replies = ['r1', 'r2', 'r3'].map((id) => sendOf(sender, toAgent('alice', 'replies'), id))
      expect(await core.sends.store(NS, replies)).toMatchObject([{ number: 1 }, { number: 2 }, { number: 3 }])
      await core.inboxes.settle(NS, [{ agentId: 'alice', lane: 'inbox', numbers: [1] }])
      expect(await core.sends.store(NS, batch)).toMatchObject([{ number: 3 }, full, full])
    })

    test('inboxMax 0 is no limit', async () => {
      const core = await openCore({ inboxMax: 0 })
      const { sender } = await join(core, 'alice')
      expect(await store(core, sendOf(sender, toAgent('alice'), 'm1'))).toMatchObject({ outcome: 'stored' })
    })

    test('asLeader is refused with stale_term unless the sender leads with that term', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      const bob = await join(core, 'bob')
      const { term } = await core.registry.snapshot(NS)
      const stale = { outcome: 'refused', code: 'stale_term', repeated: false }
      const as = (sender: Sender, asLeader: number, to = toAgent('bob')) =>
        store(core, sendOf(sender, to, 'm', { asLeader }))
      expect(await as(alice.sender, term)).toMatchObject({ outcome: 'stored', number: 1 })
      expect(await as(alice.sender, term - 1)).toEqual(stale)
      for (const to of [
        toAgent('bob'),
        toName('bob', 'bob'),
        toLeader('alice'),
        toAll(),
        toGroup('eu'),
        transient(1),
      ]) {
        expect(await as(bob.sender, term, to)).toEqual(stale)
      }
      expect(await core.broadcasts.read(NS, 0, 10)).toMatchObject({ head: 0 })
    })
  })

  describe('signals of sends', () => {
    test("the recipient's hub is told of an entry, the sender's own hub is not", async () => {
      const [one, two] = await openPair()
      const [here, there] = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      const { sender } = await join(one, 'alice', { hub: 'hub-1' })
      await join(two, 'bob', { hub: 'hub-2' })
      await fill(one, sender, toAgent('alice'), ['m1'])
      await store(one, sendOf(sender, toAgent('bob'), 'm2', { expiresAt: 4_000_000_000_000 }))
      expect(await there.hear(({ kind }) => kind === 'entry')).toEqual({
        kind: 'entry',
        agentId: 'bob',
        lane: 'inbox',
        number: 1,
        text: frame('m2'),
        expiresAt: 4_000_000_000_000,
      })
      const kinds = (await here.settled(one)).map(({ kind }) => kind)
      expect(kinds).not.toContain('entry')
    })

    test('nobody is told of an entry for an agent that is not connected', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const { sender } = await join(one, 'alice', { hub: 'hub-1' })
      await leave(two, await join(two, 'bob', { hub: 'hub-2' }))
      await fill(one, sender, toAgent('bob'), ['m1'])
      const kinds = (await ears.settled(one)).map(({ kind }) => kind)
      expect(kinds).not.toContain('entry')
    })

    test('a text too long for a signal is read instead', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const { sender } = await join(one, 'alice', { hub: 'hub-1' })
      await join(two, 'bob', { hub: 'hub-2' })
      const text = frame('big', 'x'.repeat(500_000))
      await store(one, sendOf(sender, toAgent('bob'), 'big', { text }))
      const signal = await ears.hear(({ kind }) => kind === 'entry')
      expect(signal).toMatchObject({ number: 1 })
      expect([null, text]).toContain(signal.kind === 'entry' ? signal.text : undefined)
      expect((await two.inboxes.read(NS, 'bob', 'inbox', 0, 10)).entries).toMatchObject([{ text }])
    })

    test('every hub is told of a broadcast, with the entry', async () => {
      const [one, two] = await openPair()
      const all = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      const { sender } = await join(one, 'alice', { fields: { groups: ['eu'] } })
      await store(one, sendOf(sender, toGroup('eu', true), 'b1', { expiresAt: 4_000_000_000_000 }))
      const entry = {
        number: 1,
        text: frame('b1'),
        from: 'alice',
        echo: true,
        recipients: ['alice'],
        expiresAt: 4_000_000_000_000,
      }
      for (const ears of all) {
        expect(await ears.hear(({ kind }) => kind === 'broadcast')).toEqual({
          kind: 'broadcast',
          number: 1,
          entry,
        })
      }
    })

    test('many entries for one hub are told in order', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const { sender } = await join(one, 'alice', { hub: 'hub-1' })
      await join(two, 'bob', { hub: 'hub-2' })
      const ids = Array.from({ length: 50 }, (_, index) => `m${index + 1}`)
      await fill(one, sender, toAgent('bob'), ids.slice(0, 25))
      await fill(one, sender, toAgent('bob'), ids.slice(25))
      const entries = (await ears.settled(one)).filter((signal) => signal.kind === 'entry')
      expect(entries.map(({ number, text }) => [number, text])).toEqual(
        ids.map((id, index) => [index + 1, frame(id)]),
      )
    })
  })

  describe('broadcasting', () => {
    test('a broadcast to all is one entry, owed to everybody registered but the sender', async () => {
      const [one, two] = await openPair()
      const { sender } = await join(one, 'alice')
      await join(two, 'bob')
      await leave(two, await join(two, 'carol'), { departure: 'keep' })
      expect(await store(one, sendOf(sender, toAll(), 'b1'))).toEqual({
        outcome: 'broadcast',
        number: 1,
        recipients: 2,
      })
      expect(await store(one, sendOf(sender, toAll(true), 'b2'))).toEqual({
        outcome: 'broadcast',
        number: 2,
        recipients: 3,
      })
      expect(await two.broadcasts.read(NS, 0, 10)).toEqual({
        head: 2,
        entries: [
          { number: 1, text: frame('b1'), from: 'alice', echo: false, recipients: null, expiresAt: null },
          { number: 2, text: frame('b2'), from: 'alice', echo: true, recipients: null, expiresAt: null },
        ],
      })
    })

    test('a broadcast to a group or a capability names who has it now', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice', { fields: { groups: ['eu'] } })
      const bob = await join(core, 'bob', { fields: { groups: ['eu', 'us'] } })
      await join(core, 'carol', { fields: { capabilities: ['nlp', 'vision'] } })
      const batch = [toGroup('eu'), toGroup('eu', true), toGroup('us'), toCapable('vision'), toGroup('e')]
      const outcomes = await core.sends.store(
        NS,
        batch.map((to, index) => sendOf(sender, to, `b${index}`)),
      )
      expect(outcomes).toMatchObject(
        [1, 2, 1, 1, 0].map((recipients) => ({ outcome: 'broadcast', recipients })),
      )
      const changed = registration('bob', { groups: ['asia'] })
      const update = { agentId: 'bob', fence: bob.fence, status: null, statusReason: null }
      await core.registry.update(NS, { ...update, registration: changed })
      await fill(core, sender, toGroup('eu', true), ['b5'])
      await fill(core, sender, toGroup('asia'), ['b6'])
      await leave(core, bob, { departure: 'unregister' })
      await fill(core, sender, toGroup('asia'), ['b7'])
      const { entries } = await core.broadcasts.read(NS, 0, 10)
      expect(entries.map(({ recipients }) => recipients?.toSorted())).toEqual([
        ['bob'],
        ['alice', 'bob'],
        ['bob'],
        ['carol'],
        [],
        ['alice'],
        ['bob'],
        [],
      ])
    })

    test('the log keeps its latest broadcastMax entries', async () => {
      const core = await openCore({ broadcastMax: 2 })
      const { sender } = await join(core, 'alice')
      await fill(core, sender, toAll(), ['b1', 'b2', 'b3'])
      const { entries, head } = await core.broadcasts.read(NS, 0, 10)
      expect(entries.map(({ number }) => number)).toEqual([2, 3])
      expect(head).toBe(3)
    })

    test('a transient message is counted and stored nowhere', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice')
      expect(await store(core, sendOf(sender, transient(7), '', { text: '' }))).toEqual({
        outcome: 'counted',
      })
      expect(await core.broadcasts.read(NS, 0, 10)).toEqual({ entries: [], head: 0 })
    })
  })
}
