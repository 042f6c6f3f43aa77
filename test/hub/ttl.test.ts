import { describe, expect, test } from 'vitest'
import {
  ack,
  join,
  leave,
  PLACES,
  pushed,
  read,
  reconnect,
  send,
  sendAll,
  sendRefused,
  startSpan,
  watchDead,
} from '../support/talk.ts'

/** Resolves when the clock that stamps `expiresAt` has passed it. */
async function expiry(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms + 2))
}

describe.each(PLACES)('a message whose time to live is over, on %s with %i hub(s)', (core, hubs) => {
  test('is not delivered to who comes back, and is a dead letter with reason expired', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    const direct = await send(alice, 'bob', 'old', { ttlMs: 20 })
    const reply = await send(alice, 'bob', 'old reply', { ttlMs: 20, messageType: 'response' })
    await sendAll(alice, 'bob', ['lasts', 'lasts long'], { ttlMs: 60_000 })
    await send(alice, 'bob', 'for ever')
    await expiry(20)
    await using back = await reconnect(mesh.far, bob)
    expect(await read(back, 3)).toEqual(['lasts', 'lasts long', 'for ever'])
    const letters = [await dead.next(), await dead.next()].toSorted((a, b) =>
      String(a.messageId) < String(b.messageId) ? -1 : 1,
    )
    expect(letters).toEqual(
      [direct, reply]
        .map(({ id }) => ({ messageId: id, agentId: 'bob', reason: 'expired' }))
        .toSorted((a, b) => (a.messageId < b.messageId ? -1 : 1)),
    )
    expect(await pushed(alice, back)).toEqual([])
  })

  test('is not pushed when the window has room at last, and takes no place', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await send(alice, 'bob', 'first')
    const first = await bob.next('message')
    const { id } = await send(alice, 'bob', 'old', { ttlMs: 20 })
    await send(alice, 'bob', 'second')
    await expiry(20)
    ack(bob, first)
    expect(await read(bob, 1)).toEqual(['second'])
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'expired' })
  })

  test('frees the inbox of an agent that is away', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 2 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.cut()
    const sent = await sendAll(alice, 'bob', [1, 2], { ttlMs: 300 })
    expect(await sendRefused(alice, 'bob', 3)).toBe('inbox_full')
    const letters = [await dead.next(), await dead.next()]
    expect(letters).toEqual(sent.map(({ id }) => ({ messageId: id, agentId: 'bob', reason: 'expired' })))
    await send(alice, 'bob', 3)
    await using back = await reconnect(mesh.far, bob)
    expect(back.welcome.pending).toBe(1)
    expect(await read(back, 1)).toEqual([3])
  })

  test('is not delivered to who comes back where it was a broadcast', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    const { id } = await send(alice, { all: true }, 'old', { ttlMs: 20 })
    await send(alice, { all: true }, 'lasts', { ttlMs: 60_000 })
    await expiry(20)
    await using back = await reconnect(mesh.far, bob)
    expect(await read(back, 1)).toEqual(['lasts'])
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'expired' })
  })

  test('is not pushed again after a rejection', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    const { id } = await send(alice, 'bob', 'old', { ttlMs: 300 })
    bob.send({ type: 'nack', id: (await bob.next('message')).id, delayMs: 400 })
    await send(alice, 'bob', 'next')
    // Its place is free when it would have been due.
    expect(await read(bob, 1)).toEqual(['next'])
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'expired' })
    const broadcast = await send(alice, { all: true }, 'old news', { ttlMs: 300 })
    await bob.cut()
    await using back = await reconnect(mesh.far, bob)
    const news = await back.next('message', ({ payload }) => payload === 'old news')
    back.send({ type: 'nack', id: news.id, delayMs: 400 })
    expect(await dead.next()).toEqual({ messageId: broadcast.id, agentId: 'bob', reason: 'expired' })
  })

  test('may still be acknowledged where it was pushed before', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    const acked = await send(alice, 'bob', 'acked', { ttlMs: 250 })
    const unacked = await send(alice, 'bob', 'unacked', { ttlMs: 250 })
    const first = await bob.next('message')
    expect(first.id).toBe(acked.id)
    await bob.next('message')
    await expiry(250)
    ack(bob, first)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(await dead.next()).toEqual({ messageId: unacked.id, agentId: 'bob', reason: 'expired' })
    expect(await pushed(alice, back)).toEqual([])
    expect(dead.socket.waitingOf('event')).toEqual([])
  })
})
