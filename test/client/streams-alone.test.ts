import { describe, expect, it } from 'vitest'
import type { Incident, Message } from '../../client/node.ts'
import { MeshError } from '../../client/node.ts'
import { createHandlerRun } from '../../client/handler-run.ts'
import { createStreams } from '../../client/streams.ts'
import { broken, count, deferred } from '../support/reading.ts'

describe('the streams of a client', () => {
  const query: Message = {
    type: 'message',
    id: 'm1',
    from: 'asker',
    via: 'direct',
    messageType: 'query',
    payload: null,
    createdAt: '',
    attempt: 1,
  }

  const newRun = () => createHandlerRun(() => undefined)

  /** A client's streams without a client; `answer` is what the hub says to a `stream.open`. */
  function alone(answer: (settle: (result: unknown) => void, fail: (error: Error) => void) => void) {
    const lines: string[] = []
    const incidents: Incident[] = []
    const streams = createStreams({
      write: (line) => lines.push(line),
      once: (_command, settle, fail) => answer(settle, fail),
      refuse: () => false,
      changed: () => undefined,
      emit: (incident) => incidents.push(incident),
      maxPayloadBytes: () => 1_000,
    })
    return { streams, lines, incidents }
  }

  it('tell a handler that its asker has gone though that comes together with the answer to stream.open', async () => {
    const talk = alone((settle) => {
      settle({})
      talk.streams.frames['stream.cancel']({ type: 'stream.cancel', stream: 's1', reason: 'too late' })
    })
    const run = newRun()
    await talk.streams.answer(query, count(5), run)
    expect(run.signal.reason).toMatchObject({ code: 'cancelled', message: 'too late' })
    expect(talk.lines).toEqual([])
  })

  it('leave a query whose asker is gone, and give it back where the stream can not be opened for now', async () => {
    const error = (code: 'unknown_target' | 'inbox_full') => new MeshError(code, code)
    const gone = alone((_settle, fail) => fail(error('unknown_target')))
    const left = deferred()
    const values = {
      [Symbol.asyncIterator]: () => ({
        next: () => count(1).next(),
        return: async () => {
          left.resolve()
          return { done: true as const, value: undefined }
        },
      }),
    }
    await gone.streams.answer(query, values, newRun())
    await left.promise
    expect(gone.incidents).toMatchObject([{ type: 'handler_failed', error: { code: 'unknown_target' } }])
    const full = alone((_settle, fail) => fail(error('inbox_full')))
    await expect(full.streams.answer(query, count(1), newRun())).rejects.toMatchObject({
      code: 'inbox_full',
    })
    const lost = alone((_settle, fail) => fail(new DOMException('lost', 'AbortError')))
    await expect(lost.streams.answer(query, count(1), newRun())).rejects.toMatchObject({
      name: 'AbortError',
    })
  })

  it('break a stream off where the hub left a chunk out, which it never does', async () => {
    const { streams, lines } = alone(() => undefined)
    const reader = streams.expect('c1', { timeoutMs: null })
    streams.frames['stream.open']({ type: 'stream.open', stream: 'x', from: 'bob', correlationId: 'c1' })
    streams.frames['stream.chunk']({ type: 'stream.chunk', stream: 'x', seq: 0, payload: 'a' })
    streams.frames['stream.chunk']({ type: 'stream.chunk', stream: 'x', seq: 2, payload: 'c' })
    streams.frames['stream.end']({ type: 'stream.end', stream: 'x', error: null })
    expect(await broken(reader)).toMatchObject({ got: ['a'], error: { code: 'interrupted', seq: 0 } })
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { type: 'stream.credit', credit: 64 },
      { type: 'stream.cancel', stream: 'x' },
    ])
  })
})
