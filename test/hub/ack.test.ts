import { describe, expect, test } from 'vitest'
import { CORES } from '../support/hubs.ts'
import {
  ack,
  join,
  leave,
  numbers,
  payloadsOf,
  PLACES,
  pushed,
  read,
  receive,
  reconnect,
  send,
  sendAll,
  startSpan,
} from '../support/talk.ts'

const response = { messageType: 'response' }

describe.each(PLACES)('what was not acknowledged, on %s with %i hub(s)', (core, hubs) => {
  test('comes again on the next session, first of all and in order, with the same id and a greater attempt', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, 'bob', numbers(5))
    const first = await receive(bob, 5)
    expect(first.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1])
    const [m0, m1, m2, m3, m4] = first
    if (m1 && m3) ack(bob, m1, m3)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    await send(alice, 'bob', 'new')
    const again = await receive(back, 4)
    expect(payloadsOf(again)).toEqual([0, 2, 4, 'new'])
    expect(again.slice(0, 3).map(({ id }) => id)).toEqual([m0?.id, m2?.id, m4?.id])
    expect(again.map(({ attempt }) => attempt)).toEqual([2, 2, 2, 1])
  })

  test('has an attempt that counts its pushes exactly, from session to session', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    let bob = await join(mesh.far, 'bob', { window: 2 })
    const rounds: [window: number, attempts: number[]][] = [
      [2, [1, 1]],
      [2, [2, 2]],
      [3, [3, 3, 1]],
      [4, [4, 4, 2, 1]],
    ]
    await sendAll(alice, 'bob', numbers(4))
    for (const [i, [window, attempts]] of rounds.entries()) {
      if (i > 0) bob = await reconnect(i % 2 ? mesh.near : mesh.far, bob, { window })
      const messages = await receive(bob, attempts.length)
      expect(payloadsOf(messages)).toEqual(numbers(attempts.length))
      expect(messages.map(({ attempt }) => attempt)).toEqual(attempts)
      // Kept: what the session pushed is known before the next one begins.
      await bob.request({ type: 'bye', keep: true })
    }
  })

  test('comes again to who takes the agent over, on whatever hub, with a greater attempt', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, 'bob', numbers(3))
    await send(alice, 'bob', 'reply', response)
    await send(alice, { all: true }, 'news')
    expect((await receive(bob, 5)).map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1])
    await using taker = await reconnect(mesh.near, bob)
    expect(await bob.closed).toMatchObject({ code: 4409 })
    const again = await receive(taker, 5)
    expect(payloadsOf(again)).toEqual(expect.arrayContaining([0, 1, 2, 'reply', 'news']))
    for (const { attempt } of again) expect(attempt).toBeGreaterThan(1)
  })

  test('of broadcasts comes again too, and what was acknowledged does not', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, { all: true }, numbers(5))
    const [, m1, , m3] = await receive(bob, 5)
    if (m1 && m3) ack(bob, m3, m1)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    await send(alice, { all: true }, 'new')
    const again = await receive(back, 4)
    expect(payloadsOf(again)).toEqual([0, 2, 4, 'new'])
    expect(again.map(({ attempt }) => attempt)).toEqual([2, 2, 2, 1])
  })
})

test.each(CORES)('what was not acknowledged comes again after its hub was closed, on %s', async (core) => {
  await using mesh = await startSpan(core, 2)
  await using alice = await join(mesh.near, 'alice')
  const bob = await join(mesh.far, 'bob')
  await sendAll(alice, 'bob', numbers(3))
  const [first] = await receive(bob, 3)
  if (first) ack(bob, first)
  await bob.roundTrip()
  await mesh.far.close()
  await using back = await reconnect(mesh.near, bob)
  expect(await read(back, 2)).toEqual([1, 2])
})

describe.each(PLACES)('an acknowledgement, on %s with %i hub(s)', (core, hubs) => {
  test('of what the client does not hold is ignored', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await using carol = await join(mesh.far, 'carol')
    const { id: carols } = await send(alice, 'carol', 'for carol')
    await sendAll(alice, 'bob', ['one', 'two'])
    const [one] = await receive(bob, 1)
    const twice = one?.id ?? ''
    bob.send({ type: 'ack', ids: ['nothing', carols, '', 'x'.repeat(256)] })
    expect(await pushed(alice, bob)).toEqual([])
    bob.send({ type: 'ack', ids: [twice, twice] })
    const [two] = await receive(bob, 1)
    expect(two).toMatchObject({ payload: 'two' })
    await send(alice, 'bob', 'three')
    bob.send({ type: 'ack', ids: [twice] })
    expect(await pushed(alice, bob)).toEqual([])
    expect(await read(carol, 1)).toEqual(['for carol'])
    await carol.cut()
    await using back = await reconnect(mesh.near, carol)
    expect(await back.next('message')).toMatchObject({ id: carols, attempt: 2 })
  })

  test('has at most 1,000 ids', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { window: 10_000 })
    const ids = numbers(1000).map(String)
    const sent = await send(alice, 'alice', 1)
    await receive(alice, 1)
    alice.send({ type: 'ack', ids: [...ids.slice(1), sent.id] })
    await alice.roundTrip()
    expect(alice.waitingOf('error')).toEqual([])
    alice.send({ type: 'ack', ids: [...ids, 'one more'] })
    expect(await alice.next('error')).toMatchObject({ error: { code: 'bad_frame' } })
    await leave(alice, mesh.near)
    await using back = await reconnect(mesh.far, alice)
    expect(back.welcome.pending).toBe(0)
  })

  test('that came right before the connection ended still counts', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, 'bob', numbers(10))
    await send(alice, { all: true }, 'news')
    const messages = await receive(bob, 11)
    ack(bob, ...messages)
    bob.send({ type: 'bye', ref: 1, keep: true })
    await bob.closed
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
    expect(await pushed(alice, back)).toEqual([])
  })
})
