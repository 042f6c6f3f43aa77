import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { workOf } from '../../client/handlers.ts'
import { Nack } from '../../client/nack.ts'
import { ack, incoming, progress, stepwise, WORK } from '../support/incoming.ts'

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
