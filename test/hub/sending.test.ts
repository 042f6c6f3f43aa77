import { describe, expect, test } from 'vitest'
import { Deafness } from '../support/deafness.ts'
import { CORES } from '../support/hubs.ts'
import {
  discoverAll,
  join,
  PLACES,
  pushed,
  read,
  reconnect,
  seen,
  send,
  sendAll,
  sendFrame,
  sendRefused,
  startSpan,
} from '../support/talk.ts'

describe.each(PLACES)('a send to one agent, on %s with %i hub(s)', (core, hubs) => {
  test('to an id reaches that agent with all that the sender said, and from stamped', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const before = Date.now()
    const result = await send(
      alice,
      'bob',
      { q: 1 },
      {
        messageType: 'query',
        correlationId: 'c1',
        traceparent: '00-ab-cd-01',
        ttlMs: 60_000,
        from: 'somebody else',
      },
    )
    expect(result).toEqual({ id: expect.any(String), recipients: 1 })
    const message = await bob.next('message')
    expect(message).toEqual({
      type: 'message',
      id: result.id,
      from: 'alice',
      via: 'direct',
      messageType: 'query',
      payload: { q: 1 },
      correlationId: 'c1',
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      expiresAt: new Date(Date.parse(message.createdAt) + 60_000).toISOString(),
      traceparent: '00-ab-cd-01',
      attempt: 1,
    })
    expect(Date.parse(message.createdAt)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(message.createdAt)).toBeLessThanOrEqual(Date.now())
  })

  test('null in a field of the frame is the same as the field left out', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const nulls = {
      correlationId: null,
      traceparent: null,
      ttlMs: null,
      asLeader: null,
      receipt: null,
      seq: null,
    }
    await send(alice, { agent: 'bob', name: null, all: null }, 1, { ...nulls, durability: null, echo: null })
    expect(Object.keys(await bob.next('message')).toSorted()).toEqual([
      'attempt',
      'createdAt',
      'from',
      'id',
      'messageType',
      'payload',
      'type',
      'via',
    ])
  })

  test('to a name reaches who has it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    expect(await send(alice, { name: 'bob-name' }, 'hi')).toMatchObject({ recipients: 1 })
    expect(await bob.next('message')).toMatchObject({ from: 'alice', via: 'direct', payload: 'hi' })
  })

  test('to a name that has just gone to a newcomer reaches the newcomer, with what follows behind it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const old = await join(mesh.far, 'old', { name: 'worker' })
    await old.request({ type: 'bye', keep: true })
    await using next = await join(mesh.far, 'next', { name: 'worker' })
    const sent = Promise.all([
      send(alice, { name: 'worker' }, 1),
      send(alice, 'next', 2),
      send(alice, { name: 'worker' }, 3),
    ])
    expect(await sent).toMatchObject([{ recipients: 1 }, { recipients: 1 }, { recipients: 1 }])
    expect(await read(next, 3)).toEqual([1, 2, 3])
  })

  test('to the leader reaches the leader', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    expect(await send(bob, { leader: true }, 'hi')).toMatchObject({ recipients: 1 })
    expect(await alice.next('message')).toMatchObject({ from: 'bob', via: 'direct', payload: 'hi' })
  })

  test('to the leader is refused with no_leader while there is none', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { leaderEligible: false })
    const error = await alice.refusal(sendFrame({ leader: true }, 'hi'))
    expect(error).toMatchObject({ code: 'no_leader', retryable: true })
  })

  test('an agent may send to itself', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const { id } = await send(alice, 'alice', 'note')
    expect(await alice.next('message')).toMatchObject({ id, from: 'alice', payload: 'note' })
  })

  test('an agent that is offline gets it when it is back', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    const { id, recipients } = await send(alice, 'bob', 'later')
    expect(recipients).toBe(1)
    await using back = await reconnect(mesh.far, bob)
    expect(await back.next('message')).toMatchObject({ id, payload: 'later', attempt: 1 })
  })

  test('to nobody is refused with unknown_target, naming it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const gone = await join(mesh.far, 'gone')
    await gone.request({ type: 'bye' })
    for (const to of [{ agent: 'a9' }, { name: 'a9' }, { agent: 'gone' }, { name: 'gone-name' }]) {
      const error = await alice.refusal(sendFrame(to, 'hi'))
      expect(error).toMatchObject({ code: 'unknown_target', retryable: false, retryAfterMs: null })
      expect(error.message).toContain(Object.values(to)[0])
    }
  })

  test('payloads of every JSON type arrive as they were', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const payloads = [
      null,
      true,
      0,
      -1.5e300,
      '',
      'line\nbreak \u2028 "quotes" \\ 漢字 🛰',
      [],
      {},
      [[1], { a: null }],
    ]
    const keys = JSON.parse('{"__proto__":{"x":1},"constructor":1,"":2}') as object
    await sendAll(alice, 'bob', [...payloads, keys])
    expect(await read(bob, payloads.length)).toEqual(payloads)
    expect(JSON.stringify((await bob.next('message')).payload)).toBe(JSON.stringify(keys))
  })

  test('a payload left out is a bad_frame: it is the one field where null says something', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const error = await alice.refusal({ type: 'send', to: { agent: 'alice' }, messageType: 'query' })
    expect(error).toMatchObject({ code: 'bad_frame', message: expect.stringContaining('payload is missing') })
  })

  test('texts too long for a signal between hubs arrive in order with short ones', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const payloads = Array.from({ length: 12 }, (_, i) => `${i}${'x'.repeat(i % 3 === 0 ? 100_000 : 10)}`)
    await sendAll(alice, 'bob', payloads)
    expect(await read(bob, payloads.length)).toEqual(payloads)
  })

  test('what one sender sends arrives in its order, whatever it is mixed with', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using carol = await join(mesh.far, 'carol')
    await using bob = await join(mesh.far, 'bob', { window: 1_000 })
    const numbers = Array.from({ length: 200 }, (_, i) => i)
    await Promise.all(
      numbers.flatMap((i) => [
        send(alice, i % 2 ? 'bob' : { name: 'bob-name' }, ['a', i]),
        send(carol, 'bob', ['c', i]),
      ]),
    )
    const got = (await read(bob, 400)) as [string, number][]
    for (const sender of ['a', 'c']) {
      expect(got.filter(([from]) => from === sender).map(([, i]) => i)).toEqual(numbers)
    }
  })

  test('ids are all different', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { producer: 'p1' })
    await using carol = await join(mesh.far, 'carol')
    const numbers = Array.from({ length: 50 }, (_, i) => i)
    const sent = await Promise.all(
      numbers.flatMap((i) => [
        send(alice, 'carol', i),
        send(carol, 'alice', i),
        send(carol, { all: true }, i),
        send(alice, 'carol', i, { seq: i + 1 }),
      ]),
    )
    expect(new Set(sent.map(({ id }) => id)).size).toBe(200)
  })
})

describe.each(PLACES)('namespaces, on %s with %i hub(s)', (core, hubs) => {
  test('keep messages, names and broadcasts apart', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { namespace: 'red' })
    await using bobRed = await join(mesh.far, 'bob', { namespace: 'red' })
    await using bobBlue = await join(mesh.far, 'bob', { namespace: 'blue' })
    await using carol = await join(mesh.near, 'carol', { namespace: 'blue' })
    await send(alice, 'bob', 'direct')
    expect(await send(alice, { all: true }, 'all')).toMatchObject({ recipients: 1 })
    expect(await sendRefused(alice, 'carol', 1)).toBe('unknown_target')
    expect((await read(bobRed, 2)).toSorted()).toEqual(['all', 'direct'])
    expect(await pushed(carol, bobBlue)).toEqual([])
    expect(await pushed(bobBlue, carol)).toEqual([])
  })
})

describe.each(CORES)('a hub that is behind the store, on %s', (core) => {
  test('sends to an agent that it has not heard of yet', async () => {
    await using mesh = await startSpan(core, 2)
    await using alice = await join(mesh.near, 'alice')
    for (let i = 0; i < 10; i++) {
      const agent = await join(mesh.far, `new-${i}`)
      await send(alice, i % 2 ? `new-${i}` : { name: `new-${i}-name` }, i)
      expect(await read(agent, 1)).toEqual([i])
      await agent.cut()
    }
  })

  test('finds who has a name or leads now, and keeps the order of what was sent', async () => {
    await using mesh = await startSpan(core, 2, {}, (one, index) =>
      index === 0 ? new Deafness().wrap(one) : one,
    )
    await using alice = await join(mesh.near, 'alice', { leaderEligible: false })
    const old = await join(mesh.far, 'old', { name: 'worker' })
    // The near hub has it, and hears nothing of what follows.
    await alice.request({ type: 'update', metadata: { asked: 'the store' } })
    await old.request({ type: 'bye', keep: true })
    await using next = await join(mesh.far, 'next', { name: 'worker', window: 1_000 })
    const targets = [
      { name: 'worker' },
      { agent: 'next' },
      { leader: true },
      { agent: 'next' },
      { agent: 'next' },
    ]
    const numbers = Array.from({ length: 200 }, (_, i) => i)
    const sent: Promise<unknown>[] = []
    for (const i of numbers) {
      sent.push(send(alice, targets[i % 5] ?? {}, i))
      // Some of them in other calls of the store.
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(sent)
    expect(await read(next, numbers.length)).toEqual(numbers)
    expect((await discoverAll(alice)).map(({ id }) => id)).toEqual(['alice', 'old'])
  })

  test('counts the recipients of a broadcast as the store knows them', async () => {
    await using mesh = await startSpan(core, 2)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    expect(await send(alice, { all: true }, 1)).toMatchObject({ recipients: 1 })
    await bob.request({ type: 'bye' })
    expect(await send(alice, { all: true }, 2)).toMatchObject({ recipients: 0 })
    await seen(mesh.near, 'alice')
  })
})
