import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ack, incoming, progress, stepwise, WORK } from '../support/incoming.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

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
    resume(2700)
    box.handle('notification', stepwise().handler)
    for (const id of ['w1', 'w2']) push(id, WORK)
    push('w3', { ...WORK, messageType: 'gossip' })
    for (const id of ['m1', 'm2']) push(id)
    await vi.advanceTimersByTimeAsync(900)
    expect(await told()).toEqual([progress('w1', 'w2', 'm1')])
    // Which others may have a handler for.
    await vi.advanceTimersByTimeAsync(100)
    expect(await told()).toMatchObject([{ type: 'nack', id: 'w3', requeue: true }])
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
    box.fail(new Error('over'))
    expect(vi.getTimerCount()).toBe(0)
  })
})
