import { expect } from './expect.ts'
import { collect, Collector } from './stage.ts'
import type { Case } from './stage.ts'

export const SENDING: readonly Case[] = [
  {
    title: 'what is sent to an id, a name and the leader arrives, with its fields',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      const got = new Collector<object>()
      const take = ({ from, via, messageType, payload, correlationId }: { [field: string]: unknown }): void =>
        got.add({ from, via, messageType, payload, correlationId })
      bob.onMessage((message) => take({ ...message }))
      alice.onMessage((message) => take({ ...message }))
      const sent = await alice.send('bob', { n: 1 }, { type: 'task_result', correlationId: 'c1' })
      expect(sent).toMatchObject({ id: expect.any(String), recipients: 1 })
      await alice.send({ name: 'bob' }, 'ä€😀\n')
      await bob.send({ leader: true }, null)
      expect(await got.has(3)).toEqual([
        { from: 'alice', via: 'direct', messageType: 'task_result', payload: { n: 1 }, correlationId: 'c1' },
        {
          from: 'alice',
          via: 'direct',
          messageType: 'notification',
          payload: 'ä€😀\n',
          correlationId: undefined,
        },
        { from: 'bob', via: 'direct', messageType: 'notification', payload: null, correlationId: undefined },
      ])
    },
  },
  {
    title: 'sends of one client arrive in order, however many wait for their answers',
    async run({ join }) {
      const alice = await join('alice')
      const got = collect(await join('bob', { concurrency: 1 }))
      const numbers = [...Array(200).keys()]
      await Promise.all(numbers.map((n) => alice.send('bob', n)))
      expect(await got.has(200)).toEqual(numbers)
    },
  },
  {
    title: 'a broadcast reaches all, a group, or all with a capability, and its sender only if it wants it',
    async run({ join }) {
      const alice = await join('alice', { groups: ['eu'] })
      const bob = await join('bob', { groups: ['eu'] })
      const carol = await join('carol', { capabilities: ['ocr'] })
      const got = [alice, bob, carol].map(collect)
      expect(await alice.broadcast('all')).toMatchObject({ recipients: 2 })
      await alice.broadcast('group', { to: { group: 'eu' } })
      await alice.broadcast('capability', { to: { capability: 'ocr' } })
      await alice.broadcast('echo', { echo: true })
      const all = await Promise.all([got[0]?.has(1), got[1]?.has(3), got[2]?.has(3)])
      expect(all).toEqual([['echo'], ['all', 'group', 'echo'], ['all', 'capability', 'echo']])
    },
  },
  {
    title: 'what the mesh does not take is rejected with a code, what this side does not take with a name',
    async run({ join, library: { MeshError } }) {
      const alice = await join('alice', { maxOutgoing: 1 })
      const refused = await alice.send('nobody', 1).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(MeshError)
      expect(refused).toMatchObject({ code: 'unknown_target', retryable: false })
      await expect(alice.send('alice', 1, { asLeader: 99 })).rejects.toMatchObject({ code: 'stale_term' })
      await expect(alice.send('alice', 'x'.repeat(1_048_577))).rejects.toMatchObject({
        code: 'payload_too_large',
      })
      await expect(alice.send({ capability: 'ocr' }, 1, { ifNone: 'fail' })).rejects.toMatchObject({
        code: 'no_capable_agent',
      })
      await expect(alice.send('alice', 1n)).rejects.toBeInstanceOf(TypeError)
      await expect(alice.send('alice', 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: 'AbortError',
      })
      const first = alice.send('alice', 1)
      await expect(alice.send('alice', 2)).rejects.toMatchObject({ name: 'QuotaExceededError' })
      await first
    },
  },
  {
    title: 'a transient message reaches who is connected, and nobody later',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      await alice.send('bob', 'kept')
      await alice.send('bob', 'now', { durability: 'transient' })
      expect([...(await collect(bob).has(2))].toSorted()).toEqual(['kept', 'now'])
      await bob.close()
      await alice.send('bob', 'lost', { durability: 'transient' })
      await alice.send('bob', 'kept again')
      expect(await collect(await join('bob')).has(1)).toEqual(['kept again'])
    },
  },
  {
    title: 'a receipt tells that a message was processed, or why it was not',
    async run({ join, library: { Nack } }) {
      const alice = await join('alice')
      const bob = await join('bob')
      bob.onMessage(({ payload }) => {
        if (payload === 'bad') throw new Nack('no use', { requeue: false })
      })
      const good = await alice.send('bob', 'good', { receipt: true })
      const bad = await alice.send('bob', 'bad', { receipt: true })
      expect(await good.settled).toMatchObject({ status: 'acked', id: good.id, agentId: 'bob' })
      const receipts = []
      for await (const { status, reason } of bad.receipts) receipts.push({ status, reason })
      expect(receipts).toEqual([{ status: 'dead_lettered', reason: 'no use' }])
      const lost = await alice.send('bob', 1, { receipt: true, ttlMs: 1 }).then(({ settled }) => settled)
      expect(['acked', 'expired']).toContain(lost.status)
    },
  },
]
