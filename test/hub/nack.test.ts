import { describe, expect, test } from 'vitest'
import type { HubServer } from '../../src/server.ts'
import {
  ack,
  join,
  leave,
  nack,
  PLACES,
  pushed,
  read,
  receive,
  reconnect,
  send,
  sendAll,
  sendRefused,
  startSpan,
  watchDead,
} from '../support/talk.ts'

describe.each(PLACES)('a rejected message, on %s with %i hub(s)', (core, hubs) => {
  test('comes again at once where nothing else is said, with the same id and attempt 2', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 'one')
    const first = await bob.next('message')
    nack(bob, first)
    expect(await bob.next('message')).toEqual({ ...first, attempt: 2 })
    nack(bob, first, { requeue: null, delayMs: null, reason: null })
    expect(await bob.next('message')).toEqual({ ...first, attempt: 3 })
    ack(bob, first)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
  })

  test('comes again after its delay, not before; others go on meanwhile', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 'late')
    const late = await bob.next('message')
    const at = performance.now()
    nack(bob, late, { delayMs: 200 })
    await send(alice, 'bob', 'meanwhile')
    expect(await read(bob, 1)).toEqual(['meanwhile'])
    expect(await bob.next('message')).toMatchObject({ id: late.id, attempt: 2 })
    // Timers may fire a millisecond early.
    expect(performance.now() - at).toBeGreaterThanOrEqual(198)
  })

  test('keeps its place in the window until it is due again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 2 })
    await sendAll(alice, 'bob', ['a', 'b', 'c', 'd'])
    const [a, b] = await receive(bob, 2)
    if (!a || !b) throw new Error('unreachable')
    nack(bob, a, { delayMs: 400 })
    expect(await pushed(alice, bob)).toEqual([])
    ack(bob, b)
    const c = await bob.next('message')
    expect(c.payload).toBe('c')
    expect(await pushed(alice, bob)).toEqual([])
    expect(await bob.next('message')).toMatchObject({ payload: 'a', attempt: 2 })
    ack(bob, a)
    expect(await read(bob, 1)).toEqual(['d'])
  })

  test('is not held by the client any more: an ack or a second nack of it is ignored', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 3 })
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 'one')
    const one = await bob.next('message')
    nack(bob, one, { delayMs: 80 })
    ack(bob, one)
    for (let i = 0; i < 5; i++) nack(bob, one, { requeue: false })
    const again = await bob.next('message')
    expect(again).toEqual({ ...one, attempt: 2 })
    nack(bob, again)
    expect(await bob.next('message')).toEqual({ ...one, attempt: 3 })
  })

  test('of the replies comes again in its lane', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await send(alice, 'bob', 'fills the inbox')
    await sendAll(alice, 'bob', ['r0', 'r1'], { messageType: 'response' })
    const reply = await bob.next('message', ({ payload }) => payload === 'r0')
    nack(bob, reply)
    expect(await bob.next('message', ({ payload }) => payload === 'r0')).toEqual({ ...reply, attempt: 2 })
    ack(bob, reply)
    await bob.next('message', ({ payload }) => payload === 'r1')
  })

  test('waits for its delay across sessions and hubs', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, 'bob', ['late', 'other'])
    const [late, other] = await receive(bob, 2)
    if (!late || !other) throw new Error('unreachable')
    const at = Date.now()
    nack(bob, late, { delayMs: 700 })
    await bob.request({ type: 'bye', keep: true })
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(2)
    expect(await back.next('message')).toMatchObject({ id: other.id, attempt: 2 })
    expect(await pushed(alice, back)).toEqual([])
    const again = await back.next('message')
    expect(again.id).toBe(late.id)
    expect(again.attempt).toBeGreaterThan(1)
    // By the store's clock, to the millisecond it is kept in.
    expect(Date.now() - at).toBeGreaterThanOrEqual(695)
  })

  test('that nobody has is ignored', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.far, 'carol')
    const { id } = await send(alice, 'carol', 'for carol')
    const forCarol = await carol.next('message')
    bob.send({ type: 'nack', id, requeue: false })
    bob.send({ type: 'nack', id: 'nothing', requeue: false })
    bob.send({ type: 'progress', ids: ['nothing', id] })
    await bob.roundTrip()
    expect(bob.waiting).toEqual([])
    nack(carol, forCarol)
    expect(await carol.next('message')).toMatchObject({ id, attempt: 2 })
  })

  test('a nack of a wrong shape is a bad_frame without ref', async () => {
    await using mesh = await startSpan(core, hubs)
    await using bob = await join(mesh.far, 'bob')
    for (const wrong of [
      { id: 7 },
      { id: 'x', delayMs: -1 },
      { id: 'x', requeue: 'no' },
      { id: 'x', reason: 'x'.repeat(257) },
    ]) {
      bob.send({ type: 'nack', ...wrong })
      const { error, ref } = await bob.next('error')
      expect(error.code).toBe('bad_frame')
      expect(ref).toBeUndefined()
    }
  })
})

describe.each(PLACES)('a message is given up, on %s with %i hub(s)', (core, hubs) => {
  test('after maxAttempts rejections, with the reason of the last one', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 3 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    const { id } = await send(alice, 'bob', { poison: true })
    await send(alice, 'bob', 'next')
    for (const attempt of [1, 2, 3]) {
      const message = await bob.next('message')
      expect(message).toMatchObject({ id, attempt })
      nack(bob, message, { reason: `no ${attempt}` })
    }
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'no 3' })
    // Its place is free.
    expect(await read(bob, 1)).toEqual(['next'])
    const store = await mesh.store()
    const [letter] = await store.deadLetters.list('default', null, 10)
    expect(letter).toMatchObject({ messageId: id, agentId: 'bob', reason: 'no 3', attempts: 3 })
    expect(JSON.parse(letter?.text ?? '')).toMatchObject({ id, from: 'alice', payload: { poison: true } })
  })

  test('with max_attempts where the last rejection gave no reason', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 1 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 1)
    nack(bob, await bob.next('message'))
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'max_attempts' })
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('at once with requeue false, in either lane', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    const direct = await send(alice, 'bob', 'd')
    nack(bob, await bob.next('message'), { requeue: false, reason: 'cannot read it', delayMs: 1_000 })
    expect(await dead.next()).toEqual({ messageId: direct.id, agentId: 'bob', reason: 'cannot read it' })
    const reply = await send(alice, 'bob', 'r', { messageType: 'response' })
    nack(bob, await bob.next('message'), { requeue: false, reason: 'nobody asked' })
    expect(await dead.next()).toEqual({ messageId: reply.id, agentId: 'bob', reason: 'nobody asked' })
    await bob.cut()
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
  })

  test('by rejections of all sessions together; reconnecting alone gives nothing up', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 2 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    let bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 1)
    const hub = (i: number): HubServer => (i % 2 ? mesh.near : mesh.far)
    for (let i = 1; i <= 6; i++) {
      const message = await bob.next('message')
      expect(message).toMatchObject({ id, attempt: i })
      await bob.request({ type: 'bye', keep: true })
      bob = await reconnect(hub(i), bob)
    }
    nack(bob, await bob.next('message'))
    await bob.next('message')
    await bob.request({ type: 'bye', keep: true })
    bob = await reconnect(mesh.far, bob)
    nack(bob, await bob.next('message'), { reason: 'again' })
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'again' })
    await bob.cut()
  })

  test('frees the inbox', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 1 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 1)
    expect(await sendRefused(alice, 'bob', 2)).toBe('inbox_full')
    nack(bob, await bob.next('message'), { requeue: false })
    await dead.next()
    await send(alice, 'bob', 3)
    expect(await read(bob, 1)).toEqual([3])
  })

  test('when its agent is unregistered, with that reason', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob', { window: 1 })
    const sent = await sendAll(alice, 'bob', [1, 2])
    await bob.next('message')
    await bob.request({ type: 'bye' })
    for (const { id } of sent) {
      expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'unregistered' })
    }
  })

  test('when its agent was offline for the retention period', async () => {
    await using mesh = await startSpan(core, hubs, { retentionMs: 100 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 1)
    await bob.request({ type: 'bye', keep: true })
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'retention' })
    expect(await sendRefused(alice, 'bob', 2)).toBe('unknown_target')
  })
})
