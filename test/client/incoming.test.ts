import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import { Nack } from '../../client/nack.ts'
import { ack, incoming, stepwise } from '../support/incoming.ts'

describe('incoming messages', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('are acknowledged when their handler has resolved, those of one turn in one frame', async () => {
    const { box, push, told } = incoming()
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('m1')
    push('m2', { from: 'a3' })
    expect(await told()).toEqual([])
    running.forEach(({ end }) => end())
    expect(await told()).toEqual([ack('m1', 'm2')])
  })

  it('of one sender are handled one after the other, of several senders at once', async () => {
    const { box, push, told } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    push('m1')
    push('m2')
    push('m3', { from: 'a3' })
    push('b1', { via: 'broadcast' })
    expect(ids()).toEqual(['m1', 'm3', 'b1'])
    running[0]?.end()
    await told()
    expect(ids()).toEqual(['m1', 'm3', 'b1', 'm2'])
  })

  it('of a work queue are handled at once, whoever sent them', () => {
    const { box, push } = incoming()
    const { handler, ids } = stepwise()
    box.handle(null, handler)
    push('m1', { via: 'queue', capability: 'nlp' })
    push('m2', { via: 'queue', capability: 'nlp' })
    expect(ids()).toEqual(['m1', 'm2'])
  })

  it('are handled at most `concurrency` at once; a handler that waits for a reply does not count', async () => {
    const { box, push, state, told } = incoming({ concurrency: 1 })
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    for (const from of ['a2', 'a3', 'a4']) push(`from-${from}`, { from })
    expect(ids()).toEqual(['from-a2'])
    state.awaited.add('c1')
    box.pump()
    expect(ids()).toEqual(['from-a2', 'from-a3'])
    push('reply', { messageType: 'response', correlationId: 'c1' })
    running[0]?.end()
    await told()
    expect(ids()).toEqual(['from-a2', 'from-a3'])
    box.concurrency = 2
    expect(ids()).toEqual(['from-a2', 'from-a3', 'from-a4'])
  })

  it('wait for the first handler', async () => {
    const { box, push, told } = incoming()
    push('m1')
    push('m2')
    vi.advanceTimersByTime(1_000_000)
    expect(await told()).toEqual([])
    const seen: string[] = []
    box.handle(null, ({ id }) => void seen.push(id))
    expect(await told()).toEqual([ack('m1', 'm2')])
    expect(seen).toEqual(['m1', 'm2'])
  })

  it('of any type are answered by what their handler returns where they name what a reply refers to', async () => {
    const { box, push, replies, told } = incoming()
    box.handle(null, ({ payload }) => ({ echo: payload }))
    push('m1', { messageType: 'translate', correlationId: 'c1', payload: 7 })
    push('m2', { messageType: 'translate', from: 'a3' })
    push('m3', { messageType: 'notification', from: 'a4' })
    expect(await told()).toEqual([ack('m2', 'm3', 'm1')])
    expect(replies).toEqual([{ to: 'a2', payload: { echo: 7 } }])
  })

  it('that are replies themselves are not answered', async () => {
    const { box, push, replies, told } = incoming()
    box.handle('response', ({ payload }) => ({ echo: payload }))
    push('m1', { messageType: 'response', correlationId: 'c1' })
    expect(await told()).toEqual([ack('m1')])
    expect(replies).toEqual([])
  })

  it('go to the handler of their type, else to the general one', async () => {
    const { box, push, told } = incoming()
    const seen: string[] = []
    box.handle('task', () => void seen.push('task'))
    const remove = box.handle(null, () => void seen.push('any'))
    push('m1', { messageType: 'task' })
    push('m2')
    await told()
    remove()
    push('m3')
    await told()
    box.handle(null, () => void seen.push('other'))
    await told()
    expect(seen).toEqual(['task', 'any', 'other'])
  })

  it('have one handler a type', () => {
    const { box } = incoming()
    box.handle('task', () => {})
    expect(() => box.handle('task', () => {})).toThrow('a handler for task already')
    box.handle(null, () => {})
    expect(() => box.handle(null, () => {})).toThrow('all messages')
  })

  it('whose type nobody handles become dead letters after a minute, lest they fill the window', async () => {
    const { box, push, told, incidents } = incoming()
    box.handle('task', () => {})
    push('m1', { messageType: 'gossip' })
    expect(incidents).toMatchObject([{ type: 'unhandled', message: { id: 'm1' } }])
    vi.advanceTimersByTime(30_000)
    push('m2', { messageType: 'gossip' })
    vi.advanceTimersByTime(30_000)
    expect(await told()).toMatchObject([
      { type: 'nack', id: 'm1', requeue: false, reason: 'no handler for "gossip"' },
    ])
    box.handle('gossip', () => {})
    expect(await told()).toEqual([ack('m2')])
  })

  it('whose handler threw are given back with the reason and the delay', async () => {
    const { box, push, told, incidents } = incoming()
    box.handle('plain', () => {
      throw new Error('x'.repeat(300))
    })
    box.handle('busy', async () => {
      throw new Nack('busy', { delayMs: 5000 })
    })
    box.handle('bad', () => Promise.reject(new Nack('unreadable', { requeue: false })))
    for (const messageType of ['plain', 'busy', 'bad']) push(messageType, { messageType, from: messageType })
    expect(await told()).toEqual([
      { type: 'nack', id: 'plain', requeue: true, delayMs: 1000, reason: 'x'.repeat(256) },
      { type: 'nack', id: 'busy', requeue: true, delayMs: 5000, reason: 'busy' },
      { type: 'nack', id: 'bad', requeue: false, delayMs: 1000, reason: 'unreadable' },
    ])
    expect(incidents.map(({ type }) => type)).toEqual(['handler_failed', 'handler_failed', 'handler_failed'])
    push('plain', { messageType: 'plain', attempt: 2 })
    expect(await told()).toMatchObject([{ type: 'nack', id: 'plain' }])
  })

  it('that were processed are acknowledged again and not handled again', async () => {
    const { box, push, told, lost, resume } = incoming()
    const handler = vi.fn<() => void>()
    box.handle(null, handler)
    push('m1')
    expect(await told()).toEqual([ack('m1')])
    lost()
    resume()
    push('m1', { attempt: 2 })
    expect(await told()).toEqual([ack('m1')])
    expect(handler).toHaveBeenCalledOnce()
  })

  it('are remembered as processed for the last 10,000', async () => {
    const { box, push, told } = incoming()
    const handler = vi.fn<() => void>()
    box.handle(null, handler)
    for (let n = 0; n <= 10_000; n++) push(`m${n}`, { via: 'queue' })
    const acks = (await told()) as { ids: string[] }[]
    expect(acks.map(({ ids }) => ids.length)).toEqual([...Array<number>(10).fill(1000), 1])
    push('m1')
    expect(handler).toHaveBeenCalledTimes(10_001)
    push('m0')
    expect(handler).toHaveBeenCalledTimes(10_002)
  })

  it('that are being handled when they come again are handled once, and acknowledged in the new session', async () => {
    const { box, push, told, lost, resume } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    push('m1')
    push('m2')
    lost()
    resume()
    push('m1', { attempt: 2 })
    push('m2', { attempt: 2 })
    running[0]?.end()
    expect(await told()).toEqual([ack('m1')])
    running[1]?.end()
    expect(await told()).toEqual([ack('m2')])
    expect(ids()).toEqual(['m1', 'm2'])
  })

  it('that were finished while there was no connection are acknowledged in the next session', async () => {
    const { box, push, told, lost, resume } = incoming()
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('m1')
    lost()
    running[0]?.end()
    expect(await told()).toEqual([])
    resume()
    expect(await told()).toEqual([ack('m1')])
    push('m1', { attempt: 2 })
    expect(await told()).toEqual([ack('m1')])
  })

  it('whose handler threw while there was no connection are given back when they come again, with their delay', async () => {
    const { box, push, told, lost, resume } = incoming()
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('m1')
    lost()
    running[0]?.fail(new Nack('busy', { delayMs: 7 }))
    await told()
    resume()
    expect(await told()).toEqual([])
    push('m1', { attempt: 2 })
    expect(await told()).toMatchObject([{ type: 'nack', id: 'm1', delayMs: 7 }])
    push('m1', { attempt: 3 })
    expect(running.length).toBe(2)
  })

  it.each([
    ['sent again from the dead letters', {}, { attempt: 1 }],
    ['work that others had meanwhile', { via: 'queue' }, { via: 'queue', attempt: 3 }],
  ])('whose handler threw while there was no connection run again as %s', async (_, first, next) => {
    const { box, push, told, lost, resume } = incoming()
    const { handler, running } = stepwise()
    box.handle(null, handler)
    push('m1', first)
    lost()
    running[0]?.fail(new Nack('no', { requeue: false }))
    await told()
    resume()
    push('m1', next)
    await told()
    expect(running.length).toBe(2)
    running[1]?.end()
    expect(await told()).toEqual([ack('m1')])
  })

  it('may be answered by what their handler returns; they are acknowledged when the reply is stored', async () => {
    const { box, push, told, replies } = incoming()
    box.handle('query', ({ payload }) => ({ echo: payload }))
    box.handle(null, () => 'nobody asked')
    push('m1', { messageType: 'query', payload: 7 })
    push('m2', { from: 'a3' })
    expect(await told()).toEqual([ack('m2', 'm1')])
    expect(replies).toEqual([{ to: 'a2', payload: { echo: 7 } }])
  })

  it('are not answered twice when the handler replied itself, nor when it returned nothing', async () => {
    const { box, push, told, replies } = incoming()
    box.handle('query', async (message) => {
      if (message.payload === 'silent') return undefined
      await message.reply('by hand')
      return 'returned'
    })
    push('m1', { messageType: 'query' })
    push('m2', { messageType: 'query', payload: 'silent' })
    expect(await told()).toEqual([ack('m1', 'm2')])
    expect(replies).toEqual([{ to: 'a2', payload: 'by hand' }])
  })

  it('whose returned reply can not be sent are acknowledged if trying again is useless, else given back', async () => {
    const { box, push, told, state, incidents } = incoming()
    box.handle('query', () => 'answer')
    state.replyError = new MeshError('unknown_target', 'gone')
    push('m1', { messageType: 'query' })
    expect(await told()).toEqual([ack('m1')])
    state.replyError = new MeshError('internal', 'failed')
    push('m2', { messageType: 'query' })
    expect(await told()).toMatchObject([{ type: 'nack', id: 'm2', reason: 'failed' }])
    expect(incidents).toMatchObject([{ type: 'handler_failed' }, { type: 'handler_failed' }])
  })

  it('that are replies go past busy handlers, and are acknowledged when taken', async () => {
    const { box, push, told, state, incidents } = incoming({ concurrency: 1 })
    box.handle(null, stepwise().handler)
    push('m1')
    push('m2')
    state.awaited.add('c1')
    push('r1', { messageType: 'response', correlationId: 'c1' })
    expect(await told()).toEqual([ack('r1')])
    push('r2', { messageType: 'response', correlationId: 'c1' })
    expect(await told()).toEqual([ack('r2')])
    expect(incidents).toMatchObject([{ type: 'late_reply', message: { id: 'r2' } }])
  })

  it('that are replies nobody waits for go to a handler of responses, if there is one', async () => {
    const { box, push, told, incidents } = incoming()
    const seen: string[] = []
    box.handle('response', ({ id }) => void seen.push(id))
    push('r1', { messageType: 'response', correlationId: 'c1' })
    expect(await told()).toEqual([ack('r1')])
    expect([seen, incidents]).toEqual([['r1'], []])
  })

  it('that are transient are never acknowledged, and dropped where they can not be kept up with', async () => {
    const { box, push, told } = incoming({ window: 4 })
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    for (let n = 1; n <= 9; n++) push(`t${n}`, { transient: true })
    for (let n = 0; n < 9; n++) {
      running[n]?.end()
      expect(await told()).toEqual([])
    }
    expect(ids()).toEqual(['t1', 't2', 't3', 't4', 't5'])
  })

  it('are left to the inbox once the client has stopped, while what runs may finish', async () => {
    const { box, push, told } = incoming()
    const { handler, running, ids } = stepwise()
    box.handle(null, handler)
    push('m1')
    push('m2')
    box.stop()
    const idle = box.idle()
    running[0]?.end()
    await idle
    expect(await told()).toEqual([ack('m1')])
    push('m3', { from: 'a3' })
    expect([await told(), ids()]).toEqual([[], ['m1']])
  })

  it('tell their handler by its signal that nobody waits for it any more', () => {
    const { box, push } = incoming()
    let signal: AbortSignal | undefined
    box.handle(null, (_message, context) => {
      signal = context.signal
      return new Promise(() => {})
    })
    push('m1')
    expect(signal?.aborted).toBe(false)
    box.fail(new Error('over'))
    expect(signal?.reason).toEqual(new Error('over'))
  })
})
