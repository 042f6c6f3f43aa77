import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Nack } from '../../client/nack.ts'
import { workOf } from '../../client/handlers.ts'
import { ack, incoming, stepwise } from '../support/incoming.ts'

const WORK = { via: 'queue', capability: 'nlp' }
const progress = (...ids: string[]) => ({ type: 'progress', ids })

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('work', () => {
  it('has `concurrency` places of its own, and neither work nor messages wait for the other', async () => {
    const { box, push, told } = incoming({ concurrency: 2 })
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    for (const n of [1, 2, 3]) push(`w${n}`, WORK)
    for (const n of [1, 2, 3]) push(`m${n}`, { from: `a${n}` })
    expect(ids()).toEqual(['w1', 'w2', 'm1', 'm2'])
    running[2]?.end()
    expect(await told()).toEqual([ack('m1')])
    expect(ids()).toEqual(['w1', 'w2', 'm1', 'm2', 'm3'])
    running[0]?.end()
    expect(await told()).toEqual([ack('w1')])
    expect(ids()).toEqual(['w1', 'w2', 'm1', 'm2', 'm3', 'w3'])
  })

  it('of a capability goes to its own handler, else to the one of its type, else to the general one', () => {
    const { box, push } = incoming()
    const seen: string[] = []
    const remove = box.handle(workOf('nlp'), ({ id }) => void seen.push(`work ${id}`))
    box.handle('task', ({ id }) => void seen.push(`task ${id}`))
    box.handle(null, ({ id }) => void seen.push(`any ${id}`))
    push('m1', { ...WORK, messageType: 'task' })
    push('m2', { messageType: 'task', capability: 'nlp' })
    push('m3', { ...WORK, capability: 'ocr' })
    remove()
    push('m4', { ...WORK, messageType: 'task' })
    expect(seen).toEqual(['work m1', 'task m2', 'any m3', 'task m4'])
    box.handle(workOf('nlp'), () => {})
    expect(() => box.handle(workOf('nlp'), () => {})).toThrow('a handler for work nlp already')
  })

  it('that no handler has yet is let go with the connection, for the hub may give it to somebody else', async () => {
    const { box, push, told, lost, resume } = incoming({ concurrency: 1 })
    const { handler, running, ids } = stepwise()
    push('w0', { ...WORK, messageType: 'task' })
    box.handle('notification', handler)
    push('w1', WORK)
    push('w2', WORK)
    lost()
    running[0]?.end()
    box.handle('task', handler)
    await told()
    expect(ids()).toEqual(['w1'])
    resume()
    expect(await told()).toEqual([ack('w1')])
    push('w2', { ...WORK, attempt: 2 })
    expect(ids()).toEqual(['w1', 'w2'])
  })
})

describe('progress', () => {
  it('is told three times within the acknowledgement timeout, in one frame, while handlers run', async () => {
    const { box, push, told, resume } = incoming()
    resume(3000)
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    push('m1')
    await vi.advanceTimersByTimeAsync(999)
    expect(await told()).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(await told()).toEqual([progress('w1', 'm1')])
    running[1]?.end()
    expect(await told()).toEqual([ack('m1')])
    await vi.advanceTimersByTimeAsync(1000)
    expect(await told()).toEqual([progress('w1')])
    running[0]?.end()
    expect(await told()).toEqual([ack('w1')])
    await vi.advanceTimersByTimeAsync(5000)
    expect([await told(), vi.getTimerCount()]).toEqual([[], 0])
  })

  it('covers work that waits for a place, but not messages that do, nor work without a handler', async () => {
    const { box, push, told, resume } = incoming({ concurrency: 1 })
    resume(3000)
    box.handle('notification', stepwise().handler)
    for (const id of ['w1', 'w2']) push(id, WORK)
    push('w3', { ...WORK, messageType: 'gossip' })
    for (const id of ['m1', 'm2']) push(id)
    await vi.advanceTimersByTimeAsync(1000)
    expect(await told()).toEqual([progress('w1', 'w2', 'm1')])
  })

  it('is told every 20 s by a hub that takes nothing back, and at another pace when another hub says so', async () => {
    const { box, push, told, lost, resume } = incoming()
    resume(0)
    box.handle(null, stepwise().handler)
    push('w1', WORK)
    await vi.advanceTimersByTimeAsync(19_999)
    expect(await told()).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(await told()).toEqual([progress('w1')])
    lost()
    resume(300)
    await vi.advanceTimersByTimeAsync(100)
    expect(await told()).toEqual([progress('w1')])
  })

  it('goes on while a returned reply is being stored', async () => {
    const { box, push, told, state, resume } = incoming()
    resume(3000)
    let stored = (): void => undefined
    state.storing = new Promise((resolve) => (stored = resolve))
    box.handle(null, () => 'answer')
    push('q1', { ...WORK, messageType: 'query' })
    await vi.advanceTimersByTimeAsync(1000)
    expect(await told()).toEqual([progress('q1')])
    stored()
    expect(await told()).toEqual([ack('q1')])
  })

  it('names at most 1,000 messages a frame', async () => {
    const { box, push, told, resume } = incoming({ concurrency: 1024 })
    resume(3000)
    box.handle(null, stepwise().handler)
    for (let n = 1; n <= 1001; n++) push(`w${n}`, WORK)
    await vi.advanceTimersByTimeAsync(1000)
    const frames = (await told()) as { ids: string[] }[]
    expect(frames.map(({ ids }) => ids.length)).toEqual([1000, 1])
  })

  it('that a slowed timer is late with is told when the hub is heard', async () => {
    const { box, push, told, resume } = incoming()
    resume(3000)
    box.handle(null, stepwise().handler)
    push('w1', WORK)
    const start = Date.now()
    vi.setSystemTime(start + 900)
    box.heard()
    expect(await told()).toEqual([])
    vi.setSystemTime(start + 1000)
    box.heard()
    box.heard()
    expect(await told()).toEqual([progress('w1')])
  })

  it('ends with the client', () => {
    const { box, push } = incoming()
    box.handle(null, stepwise().handler, { timeoutMs: 1000 })
    push('w1', WORK)
    expect(vi.getTimerCount()).toBe(2)
    box.abort(new Error('over'))
    expect(vi.getTimerCount()).toBe(0)
  })
})

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

describe('work that comes again after a reconnection while its handler runs', () => {
  it('runs once, goes on telling progress, and is settled in the new session', async () => {
    const { box, push, told, lost, resume } = incoming()
    resume(3000)
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    push('w1', WORK)
    push('w2', WORK)
    lost()
    await vi.advanceTimersByTimeAsync(1500)
    resume(3000)
    for (const id of ['w1', 'w2']) push(id, { ...WORK, attempt: 2 })
    await vi.advanceTimersByTimeAsync(500)
    expect(await told()).toEqual([progress('w1', 'w2')])
    running[0]?.end()
    running[1]?.fail(new Nack('busy', { delayMs: 7 }))
    expect(await told()).toMatchObject([ack('w1'), { type: 'nack', id: 'w2', delayMs: 7 }])
    expect(ids()).toEqual(['w1', 'w2'])
  })
})
