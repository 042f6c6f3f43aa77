import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ReceivedStream } from '../../client/node.ts'
import { connectAgent } from '../support/agent.ts'
import { CORES } from '../support/hubs.ts'
import { all, broken, count, deferred } from '../support/reading.ts'
import { credited, sendChunks } from '../support/streams.ts'
import { seen, startSpan } from '../support/talk.ts'
import { endOf } from '../support/end-of.ts'
import { join, until } from '../support/clients.ts'

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe.each(CORES)('an answer that streams over two hubs, on %s', (core) => {
  async function start() {
    const mesh = await startSpan(core, 2)
    const asker = await join(mesh.near, 'asker')
    const answerer = await join(mesh.far, 'answerer')
    return { mesh, asker, answerer, ...endOf(asker, answerer, mesh) }
  }

  it('is what an async generator yields, in order, and its message is acknowledged', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    answerer.onMessage('query', async function* ({ payload }) {
      for (const word of String(payload).split(' ')) yield { word }
    })
    const stream = asker.requestStream<{ word: string }>('answerer', 'to be or not')
    expect(stream.from).toBeNull()
    expect(await all(stream)).toEqual([{ word: 'to' }, { word: 'be' }, { word: 'or' }, { word: 'not' }])
    expect(stream.from).toBe('answerer')
    await answerer.close()
    await using again = await connectAgent(talk.mesh.far, { id: 'answerer', name: 'answerer' })
    expect(again.welcome.pending).toBe(0)
  })

  it('keeps a producer that is faster than its reader at the window, and goes on as it is read', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    let made = 0
    const first = deferred()
    answerer.onMessage('query', async function* () {
      for (;;) {
        if (++made === 8) first.resolve()
        yield made - 1
      }
    })
    const stream = asker.requestStream('answerer', null, { window: 8 })
    await first.promise
    await answerer.send('answerer', 'a round trip', { type: 'response' })
    await asker.send('asker', 'another', { type: 'response' })
    expect(made).toBe(8)
    for (let i = 0; i < 100; i++) expect(await stream.next()).toEqual({ done: false, value: i })
    expect(made).toBeLessThanOrEqual(108)
    stream.cancel()
  })

  it.each([
    [
      'leaving the loop',
      async (stream: ReceivedStream) => {
        for await (const _ of stream) break
      },
    ],
    [
      'throwing in the loop',
      async (stream: ReceivedStream) => {
        const reading = (async () => {
          for await (const _ of stream) throw new Error('mine')
        })()
        await expect(reading).rejects.toThrow('mine')
      },
    ],
    [
      'cancel()',
      async (stream: ReceivedStream) => {
        await stream.next()
        stream.cancel('enough')
        expect(await stream.next()).toEqual({ done: true, value: undefined })
      },
    ],
  ])(
    '%s aborts the signal of the handler within 100 ms, and its message is acknowledged',
    async (_, leave) => {
      await using talk = await start()
      const { asker, answerer } = talk
      const stopped = deferred<{ reason: unknown; at: number }>()
      const left = deferred()
      answerer.onMessage('query', async function* (_message, { signal }) {
        signal.addEventListener('abort', () =>
          stopped.resolve({ reason: signal.reason, at: performance.now() }),
        )
        try {
          yield 'first'
          await once(signal, 'abort')
          yield 'never read'
        } finally {
          left.resolve()
        }
      })
      await leave(asker.requestStream('answerer', null))
      const at = performance.now()
      const { reason, at: stoppedAt } = await stopped.promise
      expect(stoppedAt - at).toBeLessThan(100)
      expect(reason).toMatchObject({ name: 'StreamError', code: 'cancelled' })
      await left.promise
      await answerer.close()
      await using again = await connectAgent(talk.mesh.far, { id: 'answerer', name: 'answerer' })
      expect(again.welcome.pending).toBe(0)
    },
  )

  it('that breaks off throws the code and message of the handler, after the chunks before', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    answerer.onMessage('query', async function* ({ payload }) {
      yield 'some'
      if (payload === 'plain') throw new Error('no more tokens')
      throw Object.assign(new Error('too hot'), { code: 'overheated' })
    })
    const failed = until(answerer, 'handler_failed')
    expect(await broken(asker.requestStream('answerer', 'plain'))).toMatchObject({
      got: ['some'],
      error: { name: 'StreamError', code: 'handler_failed', message: 'no more tokens', seq: null },
    })
    expect((await failed).error.message).toBe('no more tokens')
    expect(await broken(asker.requestStream('answerer', 'coded'))).toMatchObject({
      error: { code: 'overheated', message: 'too hot' },
    })
  })

  it('whose answerer is gone throws peer_gone, never ends as if complete', async () => {
    await using talk = await start()
    const { mesh, asker } = talk
    const carol = await connectAgent(mesh.far, { id: 'carol' })
    await seen(mesh.near, 'carol')
    const stream = asker.requestStream('carol', null)
    const query = await carol.next('message')
    const { correlationId } = query
    await carol.request({ type: 'stream.open', stream: 's1', to: { agent: 'asker' }, correlationId })
    await credited(carol, 's1')
    sendChunks(carol, 's1', 0, ['a', 'b'])
    const breaking = broken(stream)
    await carol.roundTrip()
    await carol.cut()
    expect(await breaking).toMatchObject({
      got: ['a', 'b'],
      error: { name: 'StreamError', code: 'peer_gone', seq: 1 },
    })
  })

  it('whose asker is gone aborts the handler, and its message is acknowledged', async () => {
    await using talk = await start()
    const { mesh, answerer } = talk
    const reason = deferred<unknown>()
    answerer.onMessage('query', async function* (_message, { signal }) {
      yield 1
      await once(signal, 'abort')
      reason.resolve(signal.reason)
    })
    const carol = await connectAgent(mesh.near, { id: 'carol' })
    carol.send({ type: 'send', ref: 1, to: { agent: 'answerer' }, messageType: 'query', payload: 1 })
    const opened = await carol.next('stream.open')
    carol.send({ type: 'stream.credit', stream: opened.stream, credit: 4 })
    await carol.next('stream.chunk')
    await carol.cut()
    expect(await reason.promise).toMatchObject({ code: 'peer_gone' })
  })

  it('may be the answer to a work of another stream: what a handler reads it passes on', async () => {
    await using talk = await start()
    const { mesh, asker, answerer } = talk
    await using middle = await join(mesh.near, 'middle', { concurrency: 1 })
    answerer.onMessage('query', () => count(5))
    middle.onMessage('query', async function* () {
      for await (const value of middle.requestStream<number>('answerer', null)) yield value * 10
    })
    expect(await all(asker.requestStream('middle', null))).toEqual([0, 10, 20, 30, 40])
  })
})
