import { describe, expect, test } from 'vitest'
import type { Message } from '../../protocol/pushes.ts'
import type { Core } from '../../src/server.ts'
import {
  ack,
  join,
  leave,
  nack,
  payloadsOf,
  PLACES,
  pushed,
  read,
  receive,
  reconnect,
  send,
  sendAll,
  startSpan,
  watchDead,
} from '../support/talk.ts'

describe.each(PLACES)('a rejected broadcast, on %s with %i hub(s)', (core, hubs) => {
  test('comes again, only to who rejected it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.far, 'carol')
    const { id } = await send(alice, { all: true }, 'news')
    const message = await bob.next('message')
    await carol.next('message')
    nack(bob, message, { delayMs: 20 })
    const again = await bob.next('message')
    expect(again).toEqual({ ...message, attempt: 2 })
    expect(again.id).toBe(id)
    expect(await pushed(alice, carol)).toEqual([])
    nack(bob, message)
    expect(await bob.next('message')).toEqual({ ...message, attempt: 3 })
    ack(bob, message)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
    expect(await pushed(alice, back)).toEqual([])
  })

  test('keeps its place in the window', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await send(alice, { all: true }, 'news')
    // Between broadcasts and direct messages there is no order: only so is it the first.
    const news = await bob.next('message')
    await sendAll(alice, 'bob', [1, 2])
    nack(bob, news, { delayMs: 300 })
    expect(await pushed(alice, bob)).toEqual([])
    const again = await bob.next('message')
    expect(again).toMatchObject({ payload: 'news', attempt: 2 })
    ack(bob, again)
    const one = await bob.next('message')
    ack(bob, one)
    expect(payloadsOf([one, await bob.next('message')])).toEqual([1, 2])
  })

  test('is given up for who rejected it for good, and for nobody else', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 2 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    const carol = await join(mesh.far, 'carol')
    const first = await send(alice, { all: true }, 1)
    nack(bob, await bob.next('message'), { requeue: false, reason: 'not mine' })
    expect(await dead.next()).toEqual({ messageId: first.id, agentId: 'bob', reason: 'not mine' })
    const second = await send(alice, { all: true }, 2)
    nack(bob, await bob.next('message'))
    nack(bob, await bob.next('message'), { reason: 'still not' })
    expect(await dead.next()).toEqual({ messageId: second.id, agentId: 'bob', reason: 'still not' })
    await leave(bob, mesh.near)
    await leave(carol, mesh.near)
    await using bobBack = await reconnect(mesh.near, bob)
    await using carolBack = await reconnect(mesh.near, carol)
    expect(await read(carolBack, 2)).toEqual([1, 2])
    expect(await pushed(alice, bobBack)).toEqual([])
  })

  test('that the log does not keep any more is told in the dead letters', async () => {
    await using mesh = await startSpan(core, hubs, { broadcastMax: 3 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    // One by one: what a session has still to read can be cut off too.
    await send(alice, { all: true }, 1)
    const first = await bob.next('message')
    const others: Message[] = []
    for (const number of [2, 3, 4, 5]) {
      await send(alice, { all: true }, number)
      others.push(await bob.next('message'))
    }
    nack(bob, first)
    ack(bob, ...others)
    await leave(bob, mesh.near)
    await using _back = await reconnect(mesh.near, bob)
    expect(await dead.next()).toEqual({ messageId: null, agentId: 'bob', reason: 'broadcast_log_cut' })
  })

  test('by a session that has lost its agent meanwhile is held once by the next one', async () => {
    let slow: Promise<void> | null = null
    let release = (): void => undefined
    let tellRejected = (): void => undefined
    const rejected = new Promise<void>((resolve) => (tellRejected = resolve))
    const wrap = (inner: Core): Core => ({
      ...inner,
      broadcasts: {
        open: (...args) => inner.broadcasts.open(...args),
        read: (...args) => inner.broadcasts.read(...args),
        settle: (...args) => inner.broadcasts.settle(...args),
        reject: async (...args) => {
          await slow
          const result = await inner.broadcasts.reject(...args)
          tellRejected()
          return result
        },
      },
    })
    await using mesh = await startSpan(core, hubs, {}, wrap)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.near, 'bob')
    await send(alice, { all: true }, 'news')
    const news = await bob.next('message')
    slow = new Promise<void>((resolve) => (release = resolve))
    nack(bob, news)
    await bob.roundTrip()
    await using back = await reconnect(mesh.far, bob, { window: 2 })
    const again = await back.next('message')
    expect(again.id).toBe(news.id)
    release()
    await rejected
    // Behind what was moved to the inbox: both places of the window are seen to be free but for the one that is held.
    await sendAll(alice, 'bob', ['next', 'last'])
    expect(await read(back, 1)).toEqual(['next'])
    expect(await pushed(alice, back)).toEqual([])
    ack(back, again)
    expect(await read(back, 1)).toEqual(['last'])
    await leave(back, mesh.near)
    await using end = await reconnect(mesh.near, back)
    expect(payloadsOf(await receive(end, 2))).toEqual(['next', 'last'])
    expect(end.welcome.pending).toBe(2)
    expect(await pushed(alice, end)).toEqual([])
  })

  test('waits for its delay across sessions', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, { all: true }, 'news')
    const at = Date.now()
    nack(bob, await bob.next('message'), { delayMs: 600 })
    await bob.request({ type: 'bye', keep: true })
    await using back = await reconnect(mesh.near, bob)
    await send(alice, { all: true }, 'other news')
    expect(await read(back, 1)).toEqual(['other news'])
    const again = await back.next('message')
    expect(again.id).toBe(id)
    expect(again.attempt).toBeGreaterThan(1)
    expect(Date.now() - at).toBeGreaterThanOrEqual(595)
  })
})
