import { expect } from './expect.ts'
import { collect, Collector, until } from './stage.ts'
import type { Case } from './stage.ts'

export const HANDLING: readonly Case[] = [
  {
    title: 'a request is answered by what the handler returns, or by reply',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      bob.onMessage<number>('query', async ({ payload, reply }) => {
        if (payload < 0) await reply('negative')
        else return Math.sqrt(payload)
      })
      const answer = await alice.request<number>('bob', 9)
      expect(answer).toMatchObject({ from: 'bob', messageType: 'response', payload: 3 })
      expect((await alice.request({ name: 'bob' }, -1)).payload).toBe('negative')
    },
  },
  {
    title: 'a request without an answer ends at its time limit, or when its asker has had enough',
    async run({ join }) {
      const alice = await join('alice')
      await expect(alice.request('alice', 1, { timeoutMs: 30 })).rejects.toMatchObject({
        name: 'TimeoutError',
      })
      const abort = new AbortController()
      const asked = alice.request('alice', 1, { signal: abort.signal })
      abort.abort()
      await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
      await expect(alice.request('nobody', 1)).rejects.toMatchObject({ code: 'unknown_target' })
    },
  },
  {
    title: 'handlers that ask each other in a circle get their answers',
    async run({ join }) {
      const narrow = { window: 1, concurrency: 1 }
      const alice = await join('alice', narrow)
      const bob = await join('bob', narrow)
      const carol = await join('carol', narrow)
      alice.onMessage('query', async ({ payload }, { request }) => (await request('bob', payload)).payload)
      bob.onMessage('query', async ({ payload }, { request }) => (await request('carol', payload)).payload)
      carol.onMessage('query', ({ payload }) => ({ carol: payload }))
      const answers = await Promise.all([1, 2, 3].map((n) => carol.request('alice', n)))
      expect(answers.map(({ payload }) => payload)).toEqual([{ carol: 1 }, { carol: 2 }, { carol: 3 }])
    },
  },
  {
    title: 'a message whose handler threw comes again, and status tells of it',
    async run({ join, library: { Nack } }) {
      const alice = await join('alice', { redeliveryDelayMs: 5 })
      const failed = until(alice, 'handler_failed')
      const attempts = new Collector<number>()
      alice.onMessage(({ attempt }) => {
        attempts.add(attempt)
        if (attempt === 1) throw new Error('not yet')
        if (attempt === 2) throw new Nack('nor now', { delayMs: 1 })
      })
      await alice.send('alice', 1)
      expect(await attempts.has(3)).toEqual([1, 2, 3])
      expect(await failed).toMatchObject({ message: { payload: 1 }, error: { message: 'not yet' } })
    },
  },
  {
    title: 'each type has its handler until that is removed; a message without one is told',
    async run({ join }) {
      const alice = await join('alice', { unhandledTimeoutMs: 20 })
      const got = new Collector<string>()
      const remove = alice.onMessage('task.one', () => got.add('one'))
      alice.onMessage('task.two', () => got.add('two'))
      expect(() => alice.onMessage('task.two', () => undefined)).toThrow(TypeError)
      await alice.send('alice', 1, { type: 'task.one' })
      await alice.send('alice', 1, { type: 'task.two' })
      expect([...(await got.has(2))].toSorted()).toEqual(['one', 'two'])
      remove()
      const unhandled = until(alice, 'unhandled')
      const sent = await alice.send('alice', 2, { type: 'task.one', receipt: true })
      expect(await unhandled).toMatchObject({ message: { payload: 2 } })
      expect(await sent.settled).toMatchObject({ status: 'dead_lettered' })
    },
  },
  {
    title: 'work is done once, by one of those who can; given back, by another one',
    async run({ join, library: { Nack } }) {
      const alice = await join('alice', { capabilities: ['ask'] })
      const workers = await Promise.all(['bob', 'carol'].map((name) => join(name, { capabilities: ['ocr'] })))
      const done = new Collector<unknown>()
      let refusals = 0
      for (const worker of workers) {
        worker.onWork('ocr', ({ payload }) => {
          if (refusals++ === 0) throw new Nack('not me', { delayMs: 1 })
          done.add(payload)
        })
      }
      const pages = [...Array(20).keys()]
      const sent = await Promise.all(
        pages.map((page) => alice.send({ capability: 'ocr' }, page, { receipt: true })),
      )
      const receipts = await Promise.all(sent.map(({ settled }) => settled))
      expect(new Set(receipts.map(({ status }) => status))).toEqual(new Set(['acked']))
      expect([...done.items].toSorted((a, b) => Number(a) - Number(b))).toEqual(pages)
    },
  },
  {
    title: 'a handler that runs out of its time is told, and its work goes on to the next try',
    async run({ join }) {
      const alice = await join('alice', { redeliveryDelayMs: 1 })
      const reasons = new Collector<unknown>()
      alice.onWork(
        'test',
        ({ attempt }, { signal }) =>
          attempt > 1 ||
          new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              reasons.add((signal.reason as Error).name)
              resolve(null)
            })
          }),
        { timeoutMs: 20 },
      )
      const sent = await alice.send({ capability: 'test' }, 1, { receipt: true })
      expect(await sent.settled).toMatchObject({ status: 'acked' })
      expect(reasons.items).toEqual(['TimeoutError'])
    },
  },
  {
    title: 'a dead letter is listed, sent again and purged',
    async run({ join, library: { Nack } }) {
      const alice = await join('alice')
      const remove = alice.onMessage(() => {
        throw new Nack('broken', { requeue: false })
      })
      const sent = await alice.send('alice', { n: 1 }, { receipt: true })
      await sent.settled
      remove()
      const { deadLetters } = await alice.deadLetters.list({ agentId: 'alice' }, { payload: true })
      expect(deadLetters).toMatchObject([{ messageId: sent.id, reason: 'broken', payload: { n: 1 } }])
      const all = []
      for await (const { messageId } of alice.deadLetters.listAll()) all.push(messageId)
      expect(all).toEqual([sent.id])
      const again = collect(alice)
      const positions = deadLetters.map(({ position }) => position)
      expect(await alice.deadLetters.redrive({ positions })).toMatchObject({ redriven: 1 })
      expect(await again.has(1)).toEqual([{ n: 1 }])
      expect(await alice.deadLetters.purge({ where: {} })).toMatchObject({ purged: 0 })
    },
  },
]
