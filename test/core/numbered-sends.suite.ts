import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../protocol/limits.ts'
import type { Destination, Send, Sender } from '../../src/core/sends.ts'
import {
  fill,
  join,
  leave,
  NS,
  sendOf,
  store,
  toAgent,
  toAll,
  toLeader,
  toName,
  transient,
  type CoreFactory,
} from '../support/core.ts'

const refused = (code: 'payload_too_large' | 'bad_frame'): Destination => ({ kind: 'refused', code })

/** `count` numbered sends, from `first` on. */
const series = (sender: Sender, to: Destination, first: number, count: number): Send[] =>
  Array.from({ length: count }, (_, index) => sendOf(sender, to, `m${first + index}`, { seq: first + index }))

/** What the port `Sends` says of `seq`. */
export function numberedSendsSuite({ openCore, openPair }: CoreFactory): void {
  describe('numbered sends', () => {
    test('a seq that was stored is a duplicate with the same recipients, on whatever hub', async () => {
      const [one, two] = await openPair()
      await join(one, 'bob')
      await join(one, 'carol')
      const alice = await join(one, 'alice', { producer: 'p' })
      const sends = (sender: Sender): Send[] => [
        sendOf(sender, toAgent('bob'), 'm1', { seq: 1 }),
        sendOf(sender, toAll(), 'm2', { seq: 2 }),
        sendOf(sender, transient(5), '', { seq: 3, text: '' }),
      ]
      expect(await one.sends.store(NS, sends(alice.sender))).toMatchObject([
        { outcome: 'stored' },
        { outcome: 'broadcast', recipients: 2 },
        { outcome: 'counted' },
      ])
      const moved = await join(two, 'alice', { producer: 'p', hub: 'hub-2', proved: true })
      expect(await two.sends.store(NS, sends(moved.sender))).toEqual([
        { outcome: 'duplicate', recipients: 1 },
        { outcome: 'duplicate', recipients: 2 },
        { outcome: 'duplicate', recipients: 5 },
      ])
      expect((await two.inboxes.read(NS, 'bob', 'inbox', 0, 10)).head).toBe(1)
      expect((await two.broadcasts.read(NS, 0, 10)).head).toBe(1)
    })

    test('a duplicate within one batch is told as well', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice', { producer: 'p' })
      const send = sendOf(sender, toAgent('alice'), 'm1', { seq: 1 })
      expect(await core.sends.store(NS, [send, send])).toMatchObject([
        { outcome: 'stored' },
        { outcome: 'duplicate' },
      ])
    })

    test('an error ends a seq: the same one again has the same error, whatever has changed', async () => {
      const core = await openCore({ inboxMax: 1 })
      await join(core, 'full')
      const { sender } = await join(core, 'alice', { producer: 'p', fields: { leaderEligible: false } })
      await fill(core, sender, toAgent('full'), ['m0'])
      const batch = [
        sendOf(sender, toAgent('bob'), 'm1', { seq: 1 }),
        sendOf(sender, toAgent('full'), 'm2', { seq: 2 }),
        sendOf(sender, toAll(), 'm3', { seq: 3, asLeader: 1 }),
        sendOf(sender, refused('payload_too_large'), '', { seq: 4, text: '' }),
        sendOf(sender, refused('bad_frame'), '', { seq: 5, text: '' }),
      ]
      const codes = ['unknown_target', 'inbox_full', 'stale_term', 'payload_too_large', 'bad_frame']
      const expected = (repeated: boolean) => codes.map((code) => ({ outcome: 'refused', code, repeated }))
      expect(await core.sends.store(NS, batch)).toEqual(expected(false))
      await join(core, 'bob')
      await core.inboxes.settle(NS, [{ agentId: 'full', lane: 'inbox', numbers: [1] }])
      expect(await core.sends.store(NS, batch)).toEqual(expected(true))
      expect((await core.inboxes.read(NS, 'bob', 'inbox', 0, 10)).head).toBe(0)
    })

    test('no_leader ends a seq', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice', { producer: 'p', fields: { leaderEligible: false } })
      const send = sendOf(sender, toLeader(''), 'm1', { seq: 1 })
      expect(await store(core, send)).toMatchObject({ code: 'no_leader', repeated: false })
      await join(core, 'bob')
      expect(await store(core, send)).toEqual({ outcome: 'refused', code: 'no_leader', repeated: true })
    })

    test('a greater seq than the next one is a gap and ends nothing', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice', { producer: 'p' })
      const to = toAgent('alice')
      const gap = { outcome: 'gap', expected: 2 }
      expect(
        await core.sends.store(NS, [...series(sender, to, 1, 1), ...series(sender, to, 3, 2)]),
      ).toMatchObject([{ outcome: 'stored' }, gap, gap])
      expect(await core.sends.store(NS, series(sender, to, 2, 3))).toMatchObject([
        { number: 2 },
        { number: 3 },
        { number: 4 },
      ])
    })

    test('neither moved nor fenced ends a seq', async () => {
      const core = await openCore()
      await join(core, 'bob')
      const alice = await join(core, 'alice', { producer: 'p' })
      expect(await store(core, sendOf(alice.sender, toName('bob', ''), 'm1', { seq: 1 }))).toMatchObject({
        outcome: 'moved',
      })
      const again = await join(core, 'alice', { producer: 'p', proved: true })
      const send = sendOf(alice.sender, toAgent('bob'), 'm1', { seq: 1 })
      expect(await store(core, send)).toEqual({ outcome: 'fenced' })
      expect(await store(core, { ...send, sender: again.sender })).toMatchObject({
        outcome: 'stored',
        number: 1,
      })
    })

    test('the latest 1,024 are remembered, an older seq is too old', async () => {
      const core = await openCore()
      const { sender } = await join(core, 'alice', { producer: 'p' })
      const total = LIMITS.producerWindow + 2
      const sends = series(sender, transient(3), 1, total)
      await core.sends.store(NS, sends)
      const outcomes = await core.sends.store(NS, sends)
      expect(outcomes.slice(0, 2)).toEqual([{ outcome: 'too_old' }, { outcome: 'too_old' }])
      const duplicates = Array.from({ length: LIMITS.producerWindow }, () => ({
        outcome: 'duplicate',
        recipients: 3,
      }))
      expect(outcomes.slice(2)).toEqual(duplicates)
    })

    test('each producer of each agent counts for itself', async () => {
      const core = await openCore()
      const first = await join(core, 'alice', { producer: 'p1' })
      const bob = await join(core, 'bob', { producer: 'p1' })
      const to = toAgent('bob')
      await core.sends.store(NS, series(first.sender, to, 1, 3))
      expect(await core.sends.store(NS, series(bob.sender, to, 1, 1))).toMatchObject([{ outcome: 'stored' }])
      const second = await join(core, 'alice', { producer: 'p2', proved: true })
      expect(await core.sends.store(NS, series(second.sender, to, 1, 1))).toMatchObject([
        { outcome: 'stored' },
      ])
    })

    test('a forgotten producer begins at 1 again', async () => {
      const core = await openCore()
      const first = await join(core, 'alice', { producer: 'p0' })
      await core.sends.store(NS, series(first.sender, toAgent('alice'), 1, 2))
      for (let n = 1; n <= LIMITS.producersMax; n += 1)
        await join(core, 'alice', { producer: `p${n}`, proved: true })
      const { sender } = await join(core, 'alice', { producer: 'p0', proved: true })
      const to = toAgent('alice')
      expect(await core.sends.store(NS, series(sender, to, 3, 1))).toEqual([{ outcome: 'gap', expected: 1 }])
      expect(await core.sends.store(NS, series(sender, to, 1, 1))).toMatchObject([{ outcome: 'stored' }])
    })

    test('producers are forgotten with their agent', async () => {
      const core = await openCore()
      const first = await join(core, 'alice', { producer: 'p' })
      await core.sends.store(NS, series(first.sender, transient(0), 1, 2))
      await leave(core, first, { departure: 'unregister' })
      const { sender } = await join(core, 'alice', { producer: 'p' })
      expect(await core.sends.store(NS, series(sender, transient(0), 1, 1))).toEqual([{ outcome: 'counted' }])
    })
  })
}
