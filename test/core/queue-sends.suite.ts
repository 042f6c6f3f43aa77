import { describe, expect, test } from 'vitest'
import { fill, join, leave, listen, NS, sendOf, store, toQueue, type CoreFactory } from '../support/core.ts'
import { claim, claimOne, holdOf, idsOf, joinBoss, storeWork, WORK } from '../support/work.ts'

/** What the port `Sends` says of work. */
export function queueSendsSuite({ openCore, openPair }: CoreFactory): void {
  describe('storing work', () => {
    test('work is queued for as many recipients as are registered with the capability, the sender included', async () => {
      const [one, two] = await openPair()
      const ann = await join(one, 'ann')
      await join(two, 'ben', { fields: { capabilities: ['vision', WORK] } })
      await leave(two, await join(two, 'cid'), { departure: 'keep' })
      await joinBoss(one)
      expect(await store(one, sendOf(ann.sender, toQueue(WORK), 'm1'))).toEqual({
        outcome: 'queued',
        recipients: 3,
      })
      expect(await two.queues.size(NS, WORK)).toBe(1)
      expect(await two.queues.size(NS, 'vision')).toBe(0)
    })

    test('where nobody has the capability work is kept, or refused if it says so', async () => {
      const core = await openCore()
      const { sender } = await joinBoss(core)
      expect(await store(core, sendOf(sender, toQueue(WORK, 'fail'), 'm1'))).toEqual({
        outcome: 'refused',
        code: 'no_capable_agent',
        repeated: false,
      })
      expect(await store(core, sendOf(sender, toQueue(WORK), 'm2'))).toEqual({
        outcome: 'queued',
        recipients: 0,
      })
      await leave(core, await join(core, 'ann'), { departure: 'keep' })
      expect(await store(core, sendOf(sender, toQueue(WORK, 'fail'), 'm3'))).toEqual({
        outcome: 'queued',
        recipients: 1,
      })
      expect(idsOf(await claim(core, await join(core, 'ann'), 10))).toEqual(['m2', 'm3'])
    })

    test('a queue holds queueMax entries, held ones too, and settling makes room', async () => {
      const core = await openCore({ queueMax: 2 })
      const ann = await join(core, 'ann', { fields: { capabilities: [WORK, 'vision'] } })
      const full = { outcome: 'refused', code: 'inbox_full', repeated: false }
      const batch = ['m1', 'm2', 'm3'].map((id) => sendOf(ann.sender, toQueue(WORK), id))
      expect(await core.sends.store(NS, batch)).toMatchObject([
        { outcome: 'queued' },
        { outcome: 'queued' },
        full,
      ])
      const task = await claimOne(core, ann)
      expect(await store(core, sendOf(ann.sender, toQueue(WORK), 'm4'))).toEqual(full)
      expect(await store(core, sendOf(ann.sender, toQueue('vision'), 'm5'))).toMatchObject({
        outcome: 'queued',
      })
      await core.queues.settle(NS, [holdOf(task)])
      expect(await store(core, sendOf(ann.sender, toQueue(WORK), 'm6'))).toMatchObject({ outcome: 'queued' })
      expect(await core.queues.size(NS, WORK)).toBe(2)
    })

    test('queueMax 0 is no limit', async () => {
      const core = await openCore({ queueMax: 0 })
      await storeWork(core, await joinBoss(core), ['m1', 'm2'])
      expect(await core.queues.size(NS, WORK)).toBe(2)
    })

    test('the term is looked at before the capability, and the capability before the room', async () => {
      const core = await openCore({ queueMax: 1 })
      const boss = await joinBoss(core)
      const { term } = await core.registry.snapshot(NS)
      const codeOf = async (capability: string, asLeader: number): Promise<unknown> =>
        store(core, sendOf(boss.sender, toQueue(capability, 'fail'), 'm', { asLeader }))
      expect(await codeOf(WORK, term - 1)).toMatchObject({ code: 'stale_term' })
      await storeWork(core, boss, ['m1'])
      expect(await codeOf(WORK, term)).toMatchObject({ code: 'no_capable_agent' })
      await join(core, 'ann')
      expect(await codeOf(WORK, term)).toMatchObject({ code: 'inbox_full' })
      expect(await codeOf('asking', term)).toMatchObject({ outcome: 'queued', recipients: 1 })
    })

    test('a repeated seq is answered as the first time and stored once', async () => {
      const core = await openCore({ queueMax: 1 })
      const { sender } = await joinBoss(core, { producer: 'p' })
      const sends = ['m1', 'm2'].map((id, index) => sendOf(sender, toQueue('asking'), id, { seq: index + 1 }))
      sends.push(sendOf(sender, toQueue(WORK, 'fail'), 'm3', { seq: 3 }))
      expect(await core.sends.store(NS, sends)).toEqual([
        { outcome: 'queued', recipients: 1 },
        { outcome: 'refused', code: 'inbox_full', repeated: false },
        { outcome: 'refused', code: 'no_capable_agent', repeated: false },
      ])
      await join(core, 'ann', { fields: { capabilities: [WORK, 'asking'] } })
      expect(await core.sends.store(NS, sends)).toEqual([
        { outcome: 'duplicate', recipients: 1 },
        { outcome: 'refused', code: 'inbox_full', repeated: true },
        { outcome: 'refused', code: 'no_capable_agent', repeated: true },
      ])
      expect(await core.queues.size(NS, 'asking')).toBe(1)
    })

    test('every hub is told in which queues work waits, the sender’s too', async () => {
      const [one, two] = await openPair()
      const [near, far] = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      const { sender } = await joinBoss(one)
      await fill(one, sender, toQueue('vision'), ['m1'])
      await one.sends.store(NS, [
        sendOf(sender, toQueue(WORK), 'm2'),
        sendOf(sender, toQueue(WORK), 'm3'),
        sendOf(sender, toQueue('asking'), 'm4'),
      ])
      for (const ears of [near, far]) {
        const told = (await ears.settled(one)).filter(({ kind }) => kind === 'queued')
        const capabilities = told.flatMap((signal) => ('capabilities' in signal ? signal.capabilities : []))
        expect(capabilities[0]).toBe('vision')
        expect(new Set(capabilities)).toEqual(new Set(['vision', WORK, 'asking']))
      }
    })

    test('a session that is over sends no work', async () => {
      const core = await openCore()
      const boss = await joinBoss(core)
      await joinBoss(core, { proved: true })
      expect(await store(core, sendOf(boss.sender, toQueue(WORK), 'm1'))).toEqual({ outcome: 'fenced' })
      expect(await core.queues.size(NS, WORK)).toBe(0)
    })
  })
}
