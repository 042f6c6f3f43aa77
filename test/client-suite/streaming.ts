import { expect } from './expect.ts'
import { Collector } from './stage.ts'
import type { Case } from './stage.ts'

export const STREAMING: readonly Case[] = [
  {
    title: 'a streamed answer is read chunk by chunk, to its end',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      bob.onMessage<number>('query', async function* ({ payload }) {
        for (let n = 0; n < payload; n++) yield n
      })
      const chunks = []
      for await (const chunk of alice.requestStream('bob', 100, { window: 3 })) chunks.push(chunk)
      expect(chunks).toEqual([...Array(100).keys()])
      await expect(alice.request('bob', 1)).rejects.toBeInstanceOf(TypeError)
    },
  },
  {
    title: 'leaving a streamed answer ends it for who makes it',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      const ended = new Collector<unknown>()
      bob.onMessage('query', async function* (_message, { signal }) {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          ended.add((signal.reason as { code?: unknown }).code)
        }
      })
      for await (const chunk of alice.requestStream<number>('bob', null, { window: 2 }))
        if (chunk === 5) break
      expect(await ended.has(1)).toEqual(['cancelled'])
    },
  },
  {
    title: 'a streamed answer that breaks off throws, after the chunks that came',
    async run({ join, library: { StreamError } }) {
      const alice = await join('alice')
      const bob = await join('bob')
      bob.onMessage('query', async function* () {
        yield 'half'
        throw new Error('no more')
      })
      const stream = alice.requestStream('bob', null)
      expect(await stream.next()).toEqual({ value: 'half', done: false })
      const error = await stream.next().catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(StreamError)
      expect(error).toMatchObject({ code: 'handler_failed', message: 'no more' })
    },
  },
  {
    title: 'a stream that nobody asked for is read by onStream',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      const lines = new Collector<unknown>()
      bob.onStream(async (stream) => {
        for await (const line of stream) lines.add([stream.from, stream.correlationId, line])
        lines.add('end')
      })
      const writer = await alice.openStream('bob', { correlationId: 'log' })
      await writer.write('one')
      await writer.write('two')
      await writer.end()
      expect(await lines.has(3)).toEqual([['alice', 'log', 'one'], ['alice', 'log', 'two'], 'end'])
      await expect(alice.openStream('nobody')).rejects.toMatchObject({ code: 'unknown_target' })
    },
  },
]
