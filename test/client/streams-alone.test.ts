import { describe, expect, it } from 'vitest'
import type { Incident, Message } from '../../client/node.ts'
import { MeshError } from '../../client/node.ts'
import { HandlerRun } from '../../client/handler-run.ts'
import { Streams } from '../../client/streams.ts'
import { errorBody } from '../../protocol/error-table.ts'
import type { ErrorReply, Ok } from '../../protocol/replies.ts'
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

  const newRun = () => new HandlerRun(() => undefined)

  /** A client's streams without a client; `answer` is what the hub says to a `stream.open`. */
  function alone(answer: (settle: (reply: Ok | ErrorReply) => void, fail: (error: Error) => void) => void) {
    const lines: string[] = []
    const incidents: Incident[] = []
    const streams = new Streams({
      write: (line) => lines.push(line),
      ask: (_command, settle, fail) => answer(settle, fail),
      refuse: () => false,
      changed: () => undefined,
      emit: (incident) => incidents.push(incident),
      maxPayloadBytes: () => 1_000,
    })
    return { streams, lines, incidents }
  }

  it('tell a handler that its asker has gone though that comes together with the answer to stream.open', async () => {
    const talk = alone((settle) => {
      settle({ type: 'ok', ref: 'c1', result: {} })
      talk.streams.frame({ type: 'stream.cancel', stream: 's1', reason: 'too late' })
    })
    const run = newRun()
    await talk.streams.answer(query, count(5), run)
    expect(run.signal.reason).toMatchObject({ code: 'cancelled', message: 'too late' })
    expect(talk.lines).toEqual([])
  })

  it('leave a query whose asker is gone, and give it back where the stream can not be opened for now', async () => {
    const error = (code: 'unknown_target' | 'inbox_full') => errorBody(new MeshError(code, code))
    const gone = alone((settle) => settle({ type: 'error', ref: 'c1', error: error('unknown_target') }))
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
    const full = alone((settle) => settle({ type: 'error', ref: 'c1', error: error('inbox_full') }))
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
    streams.frame({ type: 'stream.open', stream: 'x', from: 'bob', correlationId: 'c1' })
    streams.frame({ type: 'stream.chunk', stream: 'x', seq: 0, payload: 'a' })
    streams.frame({ type: 'stream.chunk', stream: 'x', seq: 2, payload: 'c' })
    streams.frame({ type: 'stream.end', stream: 'x', error: null })
    expect(await broken(reader)).toMatchObject({ got: ['a'], error: { code: 'interrupted', seq: 0 } })
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { type: 'stream.credit', credit: 64 },
      { type: 'stream.cancel', stream: 'x' },
    ])
  })
})
