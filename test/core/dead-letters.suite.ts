import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { fill, frame, join, leave, listen, NS, toAgent, type CoreFactory } from '../support/core.ts'

/** Gives up a message of alice for each id, in this order. */
async function giveUp(core: Core, ids: readonly string[]): Promise<void> {
  const { sender } = await join(core, 'alice')
  await fill(core, sender, toAgent('alice'), ids)
  await core.inboxes.expire(NS, {
    agentId: 'alice',
    lane: 'inbox',
    numbers: ids.map((_, index) => index + 1),
  })
}

/** What the port `DeadLetters` says. */
export function deadLettersSuite({ openCore, openPair }: CoreFactory): void {
  describe('dead letters', () => {
    test('are listed in the order they came, from a position on, at most so many', async () => {
      const [one, two] = await openPair()
      expect(await one.deadLetters.list(NS, null, 10)).toEqual([])
      await giveUp(one, ['m1', 'm2', 'm3', 'm4'])
      const all = await two.deadLetters.list(NS, null, 10)
      expect(all.map(({ messageId }) => messageId)).toEqual(['m1', 'm2', 'm3', 'm4'])
      expect(await two.deadLetters.list(NS, all[1]?.position ?? '', 1)).toEqual([all[2]])
      expect(await two.deadLetters.list(NS, all[3]?.position ?? '', 10)).toEqual([])
      const asked = [all[2]?.position ?? '', '99999999999999-0', 'none', all[0]?.position ?? '']
      expect(await two.deadLetters.get(NS, asked)).toEqual([all[2], all[0]])
    })

    test('tell message, agent, reason and time, and keep the frame', async () => {
      const core = await openCore()
      const before = Date.now()
      await giveUp(core, ['m1'])
      const [letter] = await core.deadLetters.list(NS, null, 10)
      expect(letter).toMatchObject({
        messageId: 'm1',
        agentId: 'alice',
        reason: 'expired',
        capability: null,
        attempts: 0,
        text: frame('m1'),
      })
      expect(letter?.at).toBeGreaterThanOrEqual(before - 1)
      expect(letter?.at).toBeLessThanOrEqual(Date.now() + 1)
    })

    test('beyond deadMax the oldest goes', async () => {
      const core = await openCore({ deadMax: 2 })
      await giveUp(core, ['m1', 'm2', 'm3'])
      const kept = await core.deadLetters.list(NS, null, 10)
      expect(kept.map(({ messageId }) => messageId)).toEqual(['m2', 'm3'])
    })

    test('deadMax 0 keeps them all', async () => {
      const core = await openCore({ deadMax: 0 })
      await giveUp(core, ['m1', 'm2', 'm3'])
      expect(await core.deadLetters.list(NS, null, 10)).toHaveLength(3)
    })

    test('each is told to every hub', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      await giveUp(one, ['m1', 'm2'])
      await ears.hear((signal) => signal.kind === 'dead' && signal.messageId === 'm2')
      const [first, second] = await two.deadLetters.list(NS, null, 10)
      expect(ears.signals.filter(({ kind }) => kind === 'dead')).toEqual([
        {
          kind: 'dead',
          messageId: 'm1',
          agentId: 'alice',
          capability: null,
          reason: 'expired',
          at: first?.at,
        },
        {
          kind: 'dead',
          messageId: 'm2',
          agentId: 'alice',
          capability: null,
          reason: 'expired',
          at: second?.at,
        },
      ])
    })

    test('an agent that is unregistered leaves both its lanes, the inbox first', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice', 'replies'), ['r1', 'r2'])
      await fill(core, alice.sender, toAgent('alice'), ['m1', 'm2'])
      const rejection = { agentId: 'alice', number: 2, requeue: true, delayMs: 0, reason: null }
      await core.inboxes.reject(NS, 'inbox', rejection)
      await leave(core, alice, { departure: 'unregister' })
      const dead = await core.deadLetters.list(NS, null, 10)
      expect(dead.map(({ messageId, reason, attempts }) => [messageId, reason, attempts])).toEqual([
        ['m1', 'unregistered', 0],
        ['m2', 'unregistered', 1],
        ['r1', 'unregistered', 0],
        ['r2', 'unregistered', 0],
      ])
    })

    test('an id that registers anew begins with empty lanes', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await fill(core, alice.sender, toAgent('alice'), ['m1', 'm2'])
      await leave(core, alice, { departure: 'unregister' })
      expect(await join(core, 'alice')).toMatchObject({ resumed: false, pending: 0 })
      expect(await core.inboxes.read(NS, 'alice', 'inbox', 0, 10)).toEqual({ entries: [], head: 0 })
    })
  })
}
