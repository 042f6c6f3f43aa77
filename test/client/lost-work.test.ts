import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Nack } from '../../client/nack.ts'
import { ack, incoming, progress, stepwise, WORK } from '../support/incoming.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('a handler with a time limit', () => {
  it('that is over it is told so, its message is given back, and its place is free', async () => {
    const { box, push, told, incidents, resume } = incoming({ concurrency: 1 })
    resume(600)
    const { handler, running, ids } = stepwise()
    box.handle(null, handler, { timeoutMs: 500 })
    push('m1')
    push('m2')
    const signal = running[0]?.context.signal
    await vi.advanceTimersByTimeAsync(499)
    expect([await told(), signal?.aborted]).toEqual([[progress('m1'), progress('m1')], false])
    await vi.advanceTimersByTimeAsync(1)
    const nack = { type: 'nack', requeue: true, delayMs: 1000, reason: 'handler timed out after 500 ms' }
    expect(await told()).toEqual([{ ...nack, id: 'm1' }])
    expect(signal?.reason).toMatchObject({ name: 'TimeoutError', message: nack.reason })
    expect(incidents).toMatchObject([
      { type: 'handler_failed', message: { id: 'm1' }, error: { name: 'TimeoutError' } },
    ])
    expect(ids()).toEqual(['m1', 'm2'])
    await vi.advanceTimersByTimeAsync(100)
    expect(await told()).toEqual([progress('m2')])
  })

  it('may do what it likes afterwards: nothing is acknowledged, answered or given back again', async () => {
    const { box, push, told, incidents, replies } = incoming()
    const { handler, running } = stepwise()
    box.handle('query', handler, { timeoutMs: 500 })
    push('q1', { messageType: 'query' })
    push('q2', { messageType: 'query', from: 'a3' })
    await vi.advanceTimersByTimeAsync(500)
    expect(await told()).toMatchObject([
      { type: 'nack', id: 'q1' },
      { type: 'nack', id: 'q2' },
    ])
    await expect(running[0]?.message.reply('late')).rejects.toMatchObject({ name: 'TimeoutError' })
    running[0]?.end('late')
    running[1]?.fail(new Error('aborted'))
    expect([await told(), replies]).toEqual([[], []])
    expect(incidents.slice(2)).toMatchObject([{ type: 'late_result', message: { id: 'q1' } }])
    await box.idle()
  })

  it('gets its message again when it comes again, while the former run may still be at it', async () => {
    const { box, push, told } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler, { timeoutMs: 500 })
    push('w1', WORK)
    await vi.advanceTimersByTimeAsync(500)
    expect(await told()).toMatchObject([{ type: 'nack', id: 'w1' }])
    push('w1', { ...WORK, attempt: 2 })
    expect(ids()).toEqual(['w1', 'w1'])
    running[0]?.end()
    expect(await told()).toEqual([])
    running[1]?.end()
    expect(await told()).toEqual([ack('w1')])
  })

  it('is not limited while its reply is stored, and leaves no timer', async () => {
    const { box, push, told, state, incidents } = incoming()
    let stored = (): void => undefined
    state.storing = new Promise((resolve) => (stored = resolve))
    box.handle('query', () => 'answer', { timeoutMs: 500 })
    push('q1', { messageType: 'query' })
    await vi.advanceTimersByTimeAsync(1000)
    stored()
    expect([await told(), incidents]).toEqual([[ack('q1')], []])
  })

  it.each([0, -1, Number.NaN, Infinity, 2_147_483_648])('is refused the limit %d ms', (timeoutMs) => {
    const { box } = incoming()
    expect(() => box.handle(null, () => {}, { timeoutMs })).toThrow(RangeError)
    box.handle(null, () => {}, { timeoutMs: 2_147_483_647 })
  })
})

describe('revoked work', () => {
  it('is stopped by its signal and neither acknowledged nor given back, whatever its handler does', async () => {
    const { box, push, told, revoke, incidents, resume } = incoming()
    resume(3000)
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    push('w2', WORK)
    const signal = running[0]?.context.signal
    revoke('w1', 'w2', 'unknown')
    expect(signal?.reason).toMatchObject({
      name: 'RevokedError',
      message: 'the hub has revoked the message: ack_timeout',
    })
    // A signal that is asked for only now says the same.
    expect(running[1]?.context.signal.reason).toMatchObject({ name: 'RevokedError' })
    running[0]?.end()
    running[1]?.fail(new Nack('stopped', { requeue: false }))
    expect(await told()).toEqual([])
    expect(incidents).toMatchObject([
      { type: 'revoked', message: { id: 'w1' }, reason: 'ack_timeout' },
      { type: 'revoked', message: { id: 'w2' }, reason: 'ack_timeout' },
      { type: 'late_result', message: { id: 'w1' } },
    ])
    await vi.advanceTimersByTimeAsync(5000)
    expect([await told(), vi.getTimerCount()]).toEqual([[], 0])
  })

  it('does not count as processed: it runs when it comes again, and is settled by that run alone', async () => {
    const { box, push, told, revoke } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    revoke('w1')
    push('w1', { ...WORK, attempt: 2 })
    expect(ids()).toEqual(['w1', 'w1'])
    running[0]?.end()
    expect(await told()).toEqual([])
    running[1]?.fail(new Nack('busy'))
    expect(await told()).toMatchObject([{ type: 'nack', id: 'w1', reason: 'busy' }])
    push('w1', { ...WORK, attempt: 3 })
    running[2]?.end()
    expect(await told()).toEqual([ack('w1')])
    push('w1', { ...WORK, attempt: 4 })
    expect([await told(), ids().length]).toEqual([[ack('w1')], 3])
  })

  it('frees its place', async () => {
    const { box, push, told, revoke } = incoming({ concurrency: 1 })
    const { handler, ids } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    push('w2', WORK)
    revoke('w1')
    expect([await told(), ids()]).toEqual([[], ['w1', 'w2']])
  })

  it('that waits is not started', async () => {
    const { box, push, told, revoke } = incoming({ concurrency: 1 })
    const { handler, running, ids } = stepwise()
    push('w0', { ...WORK, messageType: 'task' })
    box.handle('notification', handler)
    for (const id of ['w1', 'w2', 'w3']) push(id, WORK)
    revoke('w2', 'w0')
    running[0]?.end()
    box.handle('task', handler)
    expect(await told()).toEqual([ack('w1')])
    expect(ids()).toEqual(['w1', 'w3'])
  })

  it('is not acknowledged when its reply has been stored since', async () => {
    const { box, push, told, revoke, state } = incoming()
    let stored = (): void => undefined
    state.storing = new Promise((resolve) => (stored = resolve))
    box.handle('query', () => 'answer')
    push('q1', { ...WORK, messageType: 'query' })
    expect(await told()).toEqual([])
    const idle = box.idle()
    revoke('q1')
    stored()
    await idle
    expect(await told()).toEqual([])
  })

  it('that was acknowledged before stays so', async () => {
    const { box, push, told, revoke, incidents } = incoming()
    const handler = vi.fn<() => void>()
    box.handle(null, handler)
    push('w1', WORK)
    expect(await told()).toEqual([ack('w1')])
    revoke('w1')
    push('w1', { ...WORK, attempt: 2 })
    expect(await told()).toEqual([ack('w1')])
    expect([handler.mock.calls.length, incidents]).toEqual([1, []])
  })
})

describe('work that this agent does not hold any more when it is back', () => {
  it('is taken from its handler at once; what it still holds goes on', async () => {
    const { box, push, told, incidents, lost, resume } = incoming()
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    push('w2', WORK)
    push('m1', { from: 'a3' })
    lost()
    resume(3000, ['w2'])
    const signals = running.map(({ context }) => context.signal)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false, false])
    expect(signals[0]?.reason).toMatchObject({ name: 'RevokedError' })
    expect(incidents).toMatchObject([{ type: 'revoked', message: { id: 'w1' }, reason: 'holder_lost' }])
    for (const { end } of running) end()
    push('w2', { ...WORK, attempt: 2 })
    push('m1', { from: 'a3', attempt: 2 })
    const frames = (await told()) as { readonly ids: readonly string[] }[]
    expect(new Set(frames.flatMap(({ ids }) => ids))).toEqual(new Set(['w2', 'm1']))
  })
})
