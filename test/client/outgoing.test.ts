import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Outgoing } from '../../client/outgoing.ts'

interface SendFrame {
  readonly ref: number
  readonly seq: number
  readonly payload: unknown
}

function outgoing(limits = { maxSends: 10_000, maxBytes: 1_000_000 }) {
  const sent: SendFrame[] = []
  const renew = vi.fn<() => void>()
  const queue = new Outgoing(
    { write: (line) => sent.push(JSON.parse(line) as SendFrame), renew, emit: () => undefined },
    limits,
  )
  return {
    queue,
    sent,
    renew,
    add: (payload: unknown, signal?: AbortSignal) =>
      queue.add(
        `,"payload":${JSON.stringify(payload)}}`,
        JSON.stringify(payload).length,
        { agent: 'bob' },
        signal && { signal },
      ),
    /** What was written since the last call, as `seq:payload`. */
    wrote: () => sent.splice(0).map(({ seq, payload }) => `${seq}:${String(payload)}`),
    ok: ({ ref }: SendFrame, id: string) =>
      queue.answered({ type: 'ok', ref, result: { id, recipients: 1 } }),
    error: (
      { ref }: SendFrame,
      code: 'store_unavailable' | 'draining' | 'inbox_full' | 'bad_frame' | 'seq_too_old',
    ) =>
      queue.answered({
        type: 'error',
        ref,
        error: { code, message: code, retryable: true, retryAfterMs: null },
      }),
    connect(resumed = true) {
      const producer = queue.greet()
      const accepted = queue.accepts(resumed)
      if (accepted) queue.resume()
      return { producer, accepted }
    },
  }
}

const last = <T>(items: readonly T[]): T => items.at(-1) as T

describe('outgoing sends', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('wait for a session and then go out in order, numbered from 1', async () => {
    const { add, connect, wrote, sent, ok } = outgoing()
    const first = add('a')
    void add('b')
    expect(sent).toEqual([])
    connect()
    void add('c')
    const frame = sent[0] as SendFrame
    expect(wrote()).toEqual(['1:a', '2:b', '3:c'])
    ok(frame, 'm1')
    expect(await first).toEqual({ id: 'm1', recipients: 1 })
  })

  it('without an answer go out again after a reconnection, same seq and producer, in order', () => {
    const { add, connect, wrote, sent, ok, queue } = outgoing()
    const { producer } = connect(false)
    for (const payload of ['a', 'b', 'c']) void add(payload)
    ok(sent[1] as SendFrame, 'm2')
    wrote()
    queue.lost()
    void add('d')
    expect(wrote()).toEqual([])
    expect(connect()).toEqual({ producer, accepted: true })
    expect(wrote()).toEqual(['1:a', '3:c', '4:d'])
  })

  it('go on under a new producer when nothing is open, whatever the hub remembers', () => {
    const { add, connect, wrote, sent, ok, queue } = outgoing()
    const { producer } = connect()
    void add('a')
    ok(sent[0] as SendFrame, 'm1')
    wrote()
    queue.lost()
    const next = connect(false)
    expect(next.accepted).toBe(true)
    expect(next.producer).not.toBe(producer)
    void add('b')
    expect(wrote()).toEqual(['1:b'])
  })

  it('that are open when the hub has forgotten the agent need another hello, and are numbered anew', () => {
    const { add, connect, wrote, sent, ok, queue } = outgoing()
    const { producer } = connect()
    for (const payload of ['a', 'b', 'c']) void add(payload)
    ok(sent[0] as SendFrame, 'm1')
    wrote()
    queue.lost()
    void add('d')
    expect(connect(false)).toEqual({ producer, accepted: false })
    expect(wrote()).toEqual([])
    const again = connect(true)
    expect(again.accepted).toBe(true)
    expect(again.producer).not.toBe(producer)
    expect(wrote()).toEqual(['1:b', '2:c', '3:d'])
  })

  it('never leave more than 1,024 numbers between the oldest open one and the next', () => {
    const { add, connect, sent, ok } = outgoing()
    connect()
    for (let n = 0; n < 1100; n++) void add(n)
    expect(sent.length).toBe(1024)
    ok(sent[5] as SendFrame, 'm6')
    expect(sent.length).toBe(1024)
    ok(sent[0] as SendFrame, 'm1')
    expect(sent.length).toBe(1025)
    expect(last(sent).seq).toBe(1025)
  })

  it.each(['store_unavailable', 'draining'] as const)(
    'answered %s go out again, they and all behind them, in order',
    (code) => {
      const { add, connect, wrote, sent, error, ok } = outgoing()
      connect()
      for (const payload of ['a', 'b', 'c']) void add(payload)
      const [a, b, c] = sent.splice(0) as [SendFrame, SendFrame, SendFrame]
      ok(a, 'm1')
      error(b, code)
      void add('d')
      error(c, code)
      expect(wrote()).toEqual([])
      vi.advanceTimersByTime(5000)
      expect(wrote()).toEqual(['2:b', '3:c', '4:d'])
    },
  )

  it('ignore the answer to a transmission that was repeated since', async () => {
    const { add, connect, sent, error, ok } = outgoing()
    connect()
    const sends = [add('a'), add('b')]
    const [a, b] = sent.splice(0) as [SendFrame, SendFrame]
    error(a, 'store_unavailable')
    vi.advanceTimersByTime(5000)
    const [a2, b2] = sent.splice(0) as [SendFrame, SendFrame]
    error(b, 'store_unavailable')
    ok(a2, 'm1')
    ok(b2, 'm2')
    expect((await Promise.all(sends)).map(({ id }) => id)).toEqual(['m1', 'm2'])
    vi.advanceTimersByTime(60_000)
    expect(sent).toEqual([])
  })

  it('that the hub refuses for another reason are ended, the next ones go on', async () => {
    const { add, connect, sent, error, ok, wrote } = outgoing()
    connect()
    const refused = add('a')
    const next = add('b')
    const [a, b] = sent.splice(0) as [SendFrame, SendFrame]
    error(a, 'inbox_full')
    ok(b, 'm2')
    await expect(refused).rejects.toMatchObject({ name: 'MeshError', code: 'inbox_full', retryable: true })
    expect((await next).id).toBe('m2')
    void add('c')
    expect(wrote()).toEqual(['3:c'])
  })

  it('that were never written can be taken back without a gap', async () => {
    const { add, connect, wrote } = outgoing()
    const abort = new AbortController()
    const taken = add('a', abort.signal)
    void add('b')
    abort.abort()
    await expect(taken).rejects.toMatchObject({ name: 'AbortError' })
    connect()
    expect(wrote()).toEqual(['1:b'])
  })

  it('that were written keep their number when nobody waits any more, and are dropped when numbered anew', async () => {
    const { add, connect, wrote, queue } = outgoing()
    connect()
    const abort = new AbortController()
    const taken = add('a', abort.signal)
    void add('b')
    wrote()
    abort.abort()
    await expect(taken).rejects.toMatchObject({ name: 'AbortError' })
    queue.lost()
    connect()
    expect(wrote()).toEqual(['1:a', '2:b'])
    queue.lost()
    connect(false)
    connect()
    expect(wrote()).toEqual(['1:b'])
  })

  it('are refused at once when too many or too much wait, and nothing else changes', async () => {
    const few = outgoing({ maxSends: 2, maxBytes: 1000 })
    void few.add('a')
    void few.add('b')
    await expect(few.add('c')).rejects.toMatchObject({ name: 'QuotaExceededError' })
    few.connect()
    expect(few.wrote()).toEqual(['1:a', '2:b'])

    const small = outgoing({ maxSends: 100, maxBytes: 20 })
    small.connect()
    const first = small.add('x'.repeat(30))
    await expect(small.add('y')).rejects.toThrow('maxOutgoingBytes')
    small.ok(small.sent[0] as SendFrame, 'm1')
    await first
    void small.add('y')
    expect(last(small.sent)).toMatchObject({ seq: 2, payload: 'y' })
  })

  it('ask for a new producer when the hub numbers differently', () => {
    const { add, connect, wrote, sent, error, queue, renew } = outgoing()
    const { producer } = connect()
    void add('a')
    void add('b')
    sent.splice(0)
    queue.lost()
    connect()
    const [a] = sent.splice(0) as [SendFrame]
    error(a, 'bad_frame')
    expect(renew).toHaveBeenCalledOnce()
    expect(connect().producer).not.toBe(producer)
    expect(wrote()).toEqual(['1:a', '2:b'])
  })

  it('that are bad frames themselves are rejected, not repeated for ever', async () => {
    const { add, connect, sent, error, renew } = outgoing()
    connect()
    const bad = add('a')
    error(sent[0] as SendFrame, 'bad_frame')
    await expect(bad).rejects.toMatchObject({ code: 'bad_frame' })
    expect(renew).not.toHaveBeenCalled()
  })

  it('are all rejected with the reason when the client ends', async () => {
    const { add, connect, queue } = outgoing()
    connect()
    const sends = [add('a'), add('b')]
    const idle = queue.idle()
    queue.fail(new Error('taken over'))
    for (const send of sends) await expect(send).rejects.toThrow('taken over')
    await idle
    expect([queue.size, vi.getTimerCount()]).toEqual([0, 0])
  })
})
