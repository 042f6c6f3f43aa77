import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ReceivedStream } from '../../client/node.ts'
import { Nack } from '../../client/node.ts'
import { connectAgent } from '../support/agent.ts'
import { startTestHub } from '../support/hubs.ts'
import { all, broken, count, deferred } from '../support/reading.ts'
import { chunks, credited, openStream, sendChunks } from '../support/streams.ts'
import { endOf } from '../support/end-of.ts'
import { join, until } from '../support/clients.ts'

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe('a streamed answer', () => {
  async function start() {
    const hub = await startTestHub('memory')
    const asker = await join(hub, 'asker')
    const answerer = await join(hub, 'answerer')
    return { hub, asker, answerer, ...endOf(asker, answerer, hub) }
  }

  it('joins what is yielded in one turn in one WebSocket message', async () => {
    await using talk = await start()
    const { hub, answerer } = talk
    answerer.onMessage('query', () => count(64))
    await using raw = await connectAgent(hub, { id: 'raw' })
    raw.send({ type: 'send', ref: 1, to: { agent: 'answerer' }, messageType: 'query', payload: 1 })
    const { stream } = await raw.next('stream.open')
    raw.send({ type: 'stream.credit', stream, credit: 4 })
    await chunks(raw, stream, 4)
    const before = raw.texts.length
    raw.send({ type: 'stream.credit', stream, credit: 61 })
    await chunks(raw, stream, 60)
    await raw.next('stream.end')
    expect(raw.texts.length - before).toBeLessThanOrEqual(2)
  })

  it('that is a plain reply after all is read as one chunk', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    answerer.onMessage('query', ({ payload }) => ({ plain: payload }))
    const stream = asker.requestStream('answerer', 1)
    expect(await all(stream)).toEqual([{ plain: 1 }])
    expect(stream.from).toBe('answerer')
  })

  it('to a plain request rejects that with what to use instead, and is cancelled', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    const cancelled = deferred<unknown>()
    answerer.onMessage('query', (_message, { signal }) => {
      signal.addEventListener('abort', () => cancelled.resolve(signal.reason))
      return count(1_000_000)
    })
    await expect(asker.request('answerer', 1)).rejects.toThrow('the answer is a stream: ask by requestStream')
    expect(await cancelled.promise).toMatchObject({ code: 'cancelled' })
  })

  it('that nobody begins within timeoutMs throws a TimeoutError, and comes to nothing later', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    const begin = deferred()
    const reason = deferred<unknown>()
    answerer.onMessage('query', async function (_message, { signal }) {
      signal.addEventListener('abort', () => reason.resolve(signal.reason))
      await begin.promise
      return count(1_000_000)
    })
    const error = await all(asker.requestStream('answerer', 1, { timeoutMs: 60, ttlMs: 60_000 })).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ name: 'TimeoutError' })
    begin.resolve()
    expect(await reason.promise).toMatchObject({ code: 'cancelled', message: 'nobody waits for this stream' })
  })

  it('that pauses for longer than timeoutMs throws a TimeoutError and is cancelled; a reader may pause', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    answerer.onMessage('query', async function* (_message, { signal }) {
      yield* count(3)
      await once(signal, 'abort')
    })
    const stream = asker.requestStream('answerer', 1, { timeoutMs: 150 })
    await stream.next()
    // Two chunks wait here: it is the reader that takes its time.
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(await broken(stream)).toMatchObject({ got: [1, 2], error: { name: 'TimeoutError' } })
  })

  it('ends with the reason of signal, before and while it comes', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    const stopped = deferred()
    answerer.onMessage('query', async function* (_message, { signal }) {
      signal.addEventListener('abort', () => stopped.resolve())
      yield 1
      await once(signal, 'abort')
    })
    const early = asker.requestStream('answerer', 1, { signal: AbortSignal.abort(new Error('early')) })
    await expect(early.next()).rejects.toThrow('early')
    const controller = new AbortController()
    const stream = asker.requestStream('answerer', 1, { signal: controller.signal })
    expect(await stream.next()).toMatchObject({ value: 1 })
    controller.abort(new Error('changed my mind'))
    await expect(stream.next()).rejects.toThrow('changed my mind')
    await stopped.promise
  })

  it('that can not even be asked for throws why', async () => {
    await using talk = await start()
    const { asker } = talk
    expect(await broken(asker.requestStream('nobody', 1))).toMatchObject({
      error: { code: 'unknown_target' },
    })
    expect(await broken(asker.requestStream('answerer', 1n))).toMatchObject({ error: { name: 'TypeError' } })
    expect(() => asker.requestStream('answerer', 1, { window: 0 })).toThrow('window 0 must be an integer')
  })

  it('is not waited for by a handler that is cancelled while it waits for something else', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    await answerer.update({ concurrency: 1 })
    answerer.onMessage('query', async function* ({ payload }) {
      yield payload
      if (payload === 'stuck') await new Promise(() => undefined)
    })
    for await (const chunk of asker.requestStream('answerer', 'stuck')) {
      expect(chunk).toBe('stuck')
      break
    }
    expect(await all(asker.requestStream('answerer', 'next'))).toEqual(['next'])
  })

  it('of a handler that throws a Nack gives the message back, and tells the asker', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    let tries = 0
    const again = deferred()
    answerer.onMessage('query', () => {
      if (++tries === 2) again.resolve()
      return (async function* () {
        if (tries === 1) throw new Nack('busy', { delayMs: 0 })
        yield 1
      })()
    })
    expect(await broken(asker.requestStream('answerer', 1))).toMatchObject({ error: { message: 'busy' } })
    await again.promise
  })

  it('to what is no query is given back: nobody would read it', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    const failed = until(answerer, 'handler_failed')
    answerer.onMessage('notification', () => count(3))
    await asker.send('answerer', 1)
    expect((await failed).error.message).toContain('may yield answers to queries only')
  })

  it('breaks off with peer_gone where a connection is lost, on both sides', async () => {
    await using talk = await start()
    const { hub, answerer } = talk
    const reason = deferred<unknown>()
    answerer.onMessage('query', async function* (_message, { signal }) {
      yield 1
      await once(signal, 'abort')
      reason.resolve(signal.reason)
    })
    const asker = await join(hub, 'lonely')
    const stream = asker.requestStream('answerer', 1)
    await stream.next()
    const rival = await connectAgent(hub, { id: 'lonely', name: 'lonely', session: asker.session })
    expect(await broken(stream)).toMatchObject({ got: [], error: { code: 'peer_gone' } })
    expect(await reason.promise).toMatchObject({ code: 'peer_gone' })
    await rival.cut()
    await asker.close()
  })

  it('is rejected with an AbortError where its reader closes the client', async () => {
    await using talk = await start()
    const { asker, answerer } = talk
    answerer.onMessage('query', async function* (_message, { signal }) {
      yield 1
      await once(signal, 'abort')
    })
    const stream = asker.requestStream('answerer', 1)
    await stream.next()
    const breaking = broken(stream)
    await asker.close()
    expect(await breaking).toMatchObject({ error: { name: 'AbortError' } })
  })
})

describe('a stream that no request asks for', () => {
  it('is written with openStream and taken with onStream', async () => {
    await using hub = await startTestHub('memory')
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    const got = deferred<unknown>()
    const remove = bob.onStream(async (stream) => {
      got.resolve({ from: stream.from, correlationId: stream.correlationId, chunks: await all(stream) })
    })
    expect(() => bob.onStream(() => undefined)).toThrow('there is a handler for streams already')
    const writer = await alice.openStream('bob', { correlationId: 'logs' })
    const lines = Array.from({ length: 500 }, (_, i) => `line ${i}`)
    await Promise.all(lines.map((line) => writer.write(line)))
    await writer.end()
    expect(await got.promise).toEqual({ from: 'alice', correlationId: 'logs', chunks: lines })
    await expect(writer.write('late')).rejects.toThrow('the stream has ended')
    remove()
    const unwanted = await alice.openStream('bob')
    await once(unwanted.signal, 'abort')
    expect(unwanted.signal.reason).toMatchObject({
      code: 'cancelled',
      message: 'nobody waits for this stream',
    })
    await expect(unwanted.write(1)).rejects.toMatchObject({ code: 'cancelled' })
    await expect(alice.openStream('nobody')).rejects.toMatchObject({ code: 'unknown_target' })
  })

  it('waits for its reader with each write, and fails with what the writer says', async () => {
    await using hub = await startTestHub('memory')
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    const streams = deferred<ReceivedStream>()
    bob.onStream((stream) => streams.resolve(stream))
    const writer = await alice.openStream('bob')
    let written = 0
    const writing = (async () => {
      for (let i = 0; i < 200; i++) {
        await writer.write(i)
        written++
      }
      await writer.fail(Object.assign(new Error('disk full'), { code: 'ENOSPC' }))
    })()
    const stream = await streams.promise
    await expect.poll(() => written).toBe(64)
    const { got, error } = await broken(stream)
    expect(got).toHaveLength(200)
    expect(error).toMatchObject({ code: 'ENOSPC', message: 'disk full' })
    await writing
  })

  it('is cancelled where its handler throws', async () => {
    await using hub = await startTestHub('memory')
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    const failed = until(bob, 'stream_failed')
    bob.onStream(() => {
      throw new Error('not today')
    })
    const writer = await alice.openStream('bob')
    await once(writer.signal, 'abort')
    expect(writer.signal.reason).toMatchObject({ code: 'cancelled', message: 'not today' })
    expect(await failed).toMatchObject({ from: 'alice', error: { message: 'not today' } })
  })

  it('of a raw agent reaches a client like that of another client', async () => {
    await using hub = await startTestHub('memory')
    await using raw = await connectAgent(hub, { id: 'raw' })
    await using bob = await join(hub, 'bob')
    const got = deferred<unknown[]>()
    bob.onStream(async (stream) => got.resolve(await all(stream)))
    raw.send({ type: 'stream.open', ref: 1, stream: 'x', to: { agent: 'bob' } })
    await credited(raw, 'x')
    sendChunks(raw, 'x', 0, ['a', null])
    raw.send({ type: 'stream.end', stream: 'x', error: null })
    expect(await got.promise).toEqual(['a', null])
    await using other = await connectAgent(hub, { id: 'other' })
    await openStream(raw, other, 'y')
  })
})
