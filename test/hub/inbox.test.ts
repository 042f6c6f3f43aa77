import { describe, expect, test } from 'vitest'
import { CORES, startTestHub } from '../support/hubs.ts'
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
  sendFrame,
  sendRefused,
  startSpan,
  watchDead,
} from '../support/talk.ts'

const response = { messageType: 'response' }

describe.each(PLACES)('an inbox, on %s with %i hub(s)', (core, hubs) => {
  test('fills while its agent is away, and is delivered in order when it is back; pending says how much waits', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    expect(bob.welcome.pending).toBe(0)
    await bob.request({ type: 'bye', keep: true })
    await sendAll(alice, 'bob', numbers(300))
    await sendAll(alice, 'bob', ['r1', 'r2'], response)
    await using back = await reconnect(mesh.far, bob, { window: 1_000 })
    expect(back.welcome).toMatchObject({ pending: 302, resumed: true })
    const messages = await receive(back, 302)
    const isReply = ({ messageType }: { messageType: string }): boolean => messageType === 'response'
    expect(payloadsOf(messages.filter((message) => !isReply(message)))).toEqual(numbers(300))
    expect(payloadsOf(messages.filter(isReply))).toEqual(['r1', 'r2'])
    expect(new Set(messages.map(({ attempt }) => attempt))).toEqual(new Set([1]))
  })

  test('beyond inboxMax refuses with inbox_full; what was accepted stays, replies and broadcasts do not count', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 3 })
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    await sendAll(alice, 'bob', numbers(3))
    const error = await alice.refusal(sendFrame('bob', 'too many'))
    expect(error).toMatchObject({ code: 'inbox_full', retryable: true, retryAfterMs: expect.any(Number) })
    expect(error.message).toContain('bob')
    await sendAll(alice, 'bob', ['r0', 'r1', 'r2', 'r3'], response)
    await send(alice, { all: true }, 'news')
    expect(await sendRefused(alice, 'bob', 'too many')).toBe('inbox_full')
    await using back = await reconnect(mesh.far, bob)
    const messages = await receive(back, 8)
    expect(payloadsOf(messages)).toEqual(expect.arrayContaining([0, 1, 2, 'r0', 'r1', 'r2', 'r3', 'news']))
    expect(await pushed(alice, back)).toEqual([])
    // What was pushed counts until it is acknowledged.
    expect(await sendRefused(alice, 'bob', 'too many')).toBe('inbox_full')
    ack(back, ...messages)
    await expect
      .poll(() => send(alice, 'bob', 'fits again').catch(() => null), { interval: 5 })
      .toMatchObject({ recipients: 1 })
    expect(await read(back, 1)).toEqual(['fits again'])
  })

  test('of a connected agent pushes at most window messages; each acknowledgement makes room for the next', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 3 })
    expect(bob.welcome.limits.window).toBe(3)
    await sendAll(alice, 'bob', numbers(10))
    expect(await pushed(alice, bob)).toEqual([0, 1, 2])
    const [first, second] = await receive(bob, 3)
    if (second) ack(bob, second)
    expect(await read(bob, 1)).toEqual([3])
    expect(await pushed(alice, bob)).toEqual([])
    if (first) ack(bob, first)
    expect(await read(bob, 1)).toEqual([4])
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('with window 1 and a backlog comes one by one, in order', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    await sendAll(alice, 'bob', numbers(15))
    await using back = await reconnect(mesh.far, bob, { window: 1 })
    await sendAll(alice, 'bob', numbers(30).slice(15))
    for (let i = 0; i < 30; i++) {
      const message = await back.next('message')
      expect(message).toMatchObject({ payload: i, attempt: 1 })
      expect(back.waitingOf('message')).toEqual([])
      ack(back, message)
    }
    expect(await pushed(alice, back)).toEqual([])
  })

  test('is empty after everything was acknowledged', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await sendAll(alice, 'bob', numbers(20))
    await sendAll(alice, 'bob', numbers(20), response)
    await send(alice, { all: true }, 'news')
    ack(bob, ...(await receive(bob, 41)))
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
    expect(await pushed(alice, back)).toEqual([])
  })

  test('keeps the order of each sender, however many there are', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using carol = await join(mesh.far, 'carol')
    await using bob = await join(mesh.far, 'bob', { window: 7 })
    const sent = Promise.all([
      sendAll(
        alice,
        'bob',
        numbers(150).map((i) => ['alice', i]),
      ),
      sendAll(
        carol,
        'bob',
        numbers(150).map((i) => ['carol', i]),
      ),
    ])
    const got: [string, number][] = []
    while (got.length < 300) {
      const message = await bob.next('message')
      got.push(message.payload as [string, number])
      ack(bob, message)
    }
    await sent
    for (const sender of ['alice', 'carol']) {
      expect(got.filter(([from]) => from === sender).map(([, i]) => i)).toEqual(numbers(150))
    }
  })
})

describe.each(PLACES)('lanes, on %s with %i hub(s)', (core, hubs) => {
  test('replies come while the window of the inbox is full, in a window of the same size', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 2 })
    await sendAll(alice, 'bob', numbers(3))
    await sendAll(alice, 'bob', ['r0', 'r1', 'r2'], response)
    await expect.poll(() => bob.waitingOf('message').length, { interval: 5 }).toBe(4)
    expect((await pushed(alice, bob)).toSorted()).toEqual([0, 1, 'r0', 'r1'])
    const reply = await bob.next('message', ({ payload }) => payload === 'r0')
    ack(bob, reply)
    await bob.next('message', ({ payload }) => payload === 'r2')
    expect(await pushed(alice, bob)).not.toContain(2)
    const query = await bob.next('message', ({ payload }) => payload === 0)
    ack(bob, query)
    await bob.next('message', ({ payload }) => payload === 2)
  })

  test('broadcasts share the window of the inbox', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 2 })
    await send(alice, 'bob', 'direct')
    const first = await receive(bob, 1)
    await sendAll(alice, { all: true }, ['b0', 'b1'])
    first.push(...(await receive(bob, 1)))
    expect(payloadsOf(first)).toEqual(['direct', 'b0'])
    await send(alice, 'bob', 'direct 2')
    expect(await pushed(alice, bob)).toEqual([])
    ack(bob, ...first)
    expect((await read(bob, 2)).toSorted()).toEqual(['b1', 'direct 2'])
  })

  test('a broadcast of type response travels with the broadcasts', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await send(alice, 'bob', 'fills the window')
    const [first] = await receive(bob, 1)
    await send(alice, { all: true }, 'waits', response)
    expect(await pushed(alice, bob)).toEqual([])
    if (first) ack(bob, first)
    expect(await read(bob, 1)).toEqual(['waits'])
  })
})

describe.each(CORES)('the broadcast log, on %s', (core) => {
  test('keeps its last broadcastMax entries; what an absent agent so loses is one dead letter', async () => {
    await using mesh = await startSpan(core, 1, { broadcastMax: 3 })
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.near, 'bob')
    await bob.request({ type: 'bye', keep: true })
    await sendAll(alice, { all: true }, numbers(5))
    await using dead = await watchDead(mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(await read(back, 3)).toEqual([2, 3, 4])
    expect(await dead.next()).toEqual({ messageId: null, agentId: 'bob', reason: 'broadcast_log_cut' })
    const store = await mesh.store()
    const letters = await store.deadLetters.list('default', null, 10)
    expect(letters.map(({ text }) => JSON.parse(text) as unknown)).toEqual([{ from: 1, to: 2 }])
  })

  test('that runs away from a connected agent leaves one dead letter too', async () => {
    await using mesh = await startSpan(core, 1, { broadcastMax: 3 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.near, 'bob', { window: 1 })
    await using carol = await join(mesh.near, 'carol')
    await send(alice, { all: true }, 'held')
    const held = await receive(bob, 1)
    await sendAll(alice, { all: true }, numbers(5))
    // Signals are all there: one that comes after the acknowledgement would be pushed as it is, however the log was cut.
    expect(await read(carol, 6)).toEqual(['held', ...numbers(5)])
    ack(bob, ...held)
    for (const i of [2, 3, 4]) {
      const message = await bob.next('message')
      expect(message.payload).toBe(i)
      ack(bob, message)
    }
    expect(await dead.next()).toEqual({ messageId: null, agentId: 'bob', reason: 'broadcast_log_cut' })
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(await pushed(alice, back)).toEqual([])
    const store = await mesh.store()
    const letters = await store.deadLetters.list('default', null, 10)
    expect(letters.map(({ agentId, text }) => [agentId, JSON.parse(text) as unknown])).toEqual([
      ['bob', { from: 2, to: 3 }],
    ])
  })

  test('leaves nothing behind in the dead letters for who was owed none of it', async () => {
    await using mesh = await startSpan(core, 1, { broadcastMax: 3 })
    const alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.near, 'bob')
    await using carol = await join(mesh.near, 'carol', { groups: ['eu'] })
    for (const i of numbers(5)) {
      await send(alice, { group: 'eu' }, i)
      expect(await read(carol, 1)).toEqual([i])
    }
    await leave(alice, mesh.near)
    await using back = await reconnect(mesh.near, alice)
    await back.request({ type: 'bye' })
    await bob.request({ type: 'bye' })
    const store = await mesh.store()
    expect(await store.deadLetters.list('default', null, 10)).toEqual([])
  })
})

describe.each(CORES)('a receiver that does not read, on %s', (core) => {
  test('is pushed nothing more while its socket is full, and gets all of it in order when it reads on', async () => {
    await using hub = await startTestHub(core, { ratePerSecond: 0 })
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob', { window: 1_000 })
    bob.pause()
    const payload = 'x'.repeat(200_000)
    const count = 60
    for (let i = 0; i < count; i++) await send(alice, 'bob', { i, payload })
    bob.resume()
    const got = await receive(bob, count)
    expect(got.map((message) => (message.payload as { i: number }).i)).toEqual(numbers(count))
    expect(new Set(got.map(({ attempt }) => attempt))).toEqual(new Set([1]))
  })
})
