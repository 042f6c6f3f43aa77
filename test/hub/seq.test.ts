import { describe, expect, test } from 'vitest'
import type { SendResult } from '../../protocol/replies.ts'
import type { Core } from '../../src/server.ts'
import { CORES } from '../support/hubs.ts'
import {
  ack,
  join,
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
} from '../support/talk.ts'
import { joinSender, sendSeries } from '../support/numbered.ts'

describe.each(PLACES)('seq, on %s with %i hub(s)', (core, hubs) => {
  test('counts from 1 without gaps; a gap is a bad_frame that says what is expected and ends nothing', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const gap = await alice.refusal(sendFrame('bob', 'x', { seq: 2 }))
    expect(gap).toMatchObject({ code: 'bad_frame', retryable: false })
    expect(gap.message).toMatch(/expected 1\b/)
    expect(await send(alice, 'bob', 1, { seq: 1 })).toEqual({ id: expect.any(String), recipients: 1 })
    expect((await alice.refusal(sendFrame('bob', 'x', { seq: 3 }))).message).toMatch(/expected 2\b/)
    expect(await send(alice, 'bob', 2, { seq: 2 })).not.toHaveProperty('duplicate')
    expect(await pushed(alice, bob)).toEqual([1, 2])
  })

  test('needs a producer', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const error = await alice.refusal(sendFrame('bob', 'x', { seq: 1 }))
    expect(error).toMatchObject({ code: 'bad_frame', message: expect.stringContaining('producer') })
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('may be left out of some sends of a producer: those count nothing', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 1, { seq: 1 })
    await send(alice, 'bob', 'free')
    await send(alice, 'bob', 2, { seq: 2 })
    expect(await read(bob, 3)).toEqual([1, 'free', 2])
  })

  test('sent again is answered with the same id and recipients, as a duplicate, and delivered once', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const first = await send(alice, 'bob', 'one', { seq: 1 })
    await send(alice, 'bob', 'two', { seq: 2 })
    for (let i = 0; i < 3; i++) {
      expect(await send(alice, 'bob', 'one', { seq: 1 })).toEqual({ ...first, duplicate: true })
    }
    expect(await pushed(alice, bob)).toEqual(['one', 'two'])
  })

  test('sent again in the same write is a duplicate too', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const frame = sendFrame('bob', 'one', { seq: 1 })
    const [first, again] = await Promise.all([
      alice.request<SendResult>(frame),
      alice.request<SendResult>(frame),
    ])
    expect(first).not.toHaveProperty('duplicate')
    expect(again).toEqual({ ...first, duplicate: true })
    expect(await pushed(alice, bob)).toEqual(['one'])
  })

  test('sent again after reconnecting, on whatever hub, is answered as the first time', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob', { groups: ['eu'] })
    await using carol = await join(mesh.far, 'carol', { groups: ['eu'] })
    const direct = await send(alice, 'bob', 'direct', { seq: 1 })
    const broadcast = await send(alice, { group: 'eu' }, 'group', { seq: 2 })
    expect(broadcast.recipients).toBe(2)
    await alice.cut()
    // What a broadcast reached then counts, not what it would reach now.
    await carol.request({ type: 'bye' })
    await using again = await reconnect(mesh.far, alice, { producer: 'p1' })
    expect(await send(again, 'bob', 'direct', { seq: 1 })).toEqual({ ...direct, duplicate: true })
    expect(await send(again, { group: 'eu' }, 'group', { seq: 2 })).toEqual({ ...broadcast, duplicate: true })
    await send(again, 'bob', 'next', { seq: 3 })
    expect((await pushed(again, bob)).toSorted()).toEqual(['direct', 'group', 'next'])
  })

  test('goes on where it was after a takeover and after a time offline', async () => {
    await using mesh = await startSpan(core, hubs)
    const alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 1, { seq: 1 })
    const second = await reconnect(mesh.far, alice, { producer: 'p1' })
    expect(await alice.closed).toMatchObject({ code: 4409 })
    await send(second, 'bob', 2, { seq: 2 })
    await second.request({ type: 'bye', keep: true })
    await using third = await reconnect(mesh.near, second, { producer: 'p1' })
    await send(third, 'bob', 3, { seq: 3 })
    expect(await pushed(third, bob)).toEqual([1, 2, 3])
  })

  test('of one producer has nothing to do with that of another', async () => {
    await using mesh = await startSpan(core, hubs)
    const alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const one = await send(alice, 'bob', 1, { seq: 1 })
    await using other = await reconnect(mesh.far, alice, { producer: 'p2' })
    const two = await send(other, 'bob', 2, { seq: 1 })
    expect(two).not.toHaveProperty('duplicate')
    expect(two.id).not.toBe(one.id)
    expect(await pushed(other, bob)).toEqual([1, 2])
  })

  test('is remembered for the 8 latest producers of an agent', async () => {
    await using mesh = await startSpan(core, hubs)
    let alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const first = await send(alice, 'bob', 'first', { seq: 1 })
    const visit = async (producer: string): Promise<void> => {
      alice = await reconnect(mesh.far, alice, { producer })
    }
    for (let i = 2; i <= 8; i++) await visit(`p${i}`)
    await visit('p1')
    expect(await send(alice, 'bob', 'first', { seq: 1 })).toEqual({ ...first, duplicate: true })
    for (let i = 9; i <= 16; i++) await visit(`p${i}`)
    await visit('p1')
    const anew = await send(alice, 'bob', 'anew', { seq: 1 })
    expect(anew).not.toHaveProperty('duplicate')
    expect(anew.id).not.toBe(first.id)
    expect(await pushed(alice, bob)).toEqual(['first', 'anew'])
    await alice.cut()
  })

  test('starts anew when the agent was unregistered', async () => {
    await using mesh = await startSpan(core, hubs)
    const alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const old = await send(alice, 'bob', 'old', { seq: 1 })
    await alice.request({ type: 'bye' })
    await using anew = await joinSender(mesh.near)
    const result = await send(anew, 'bob', 'new', { seq: 1 })
    expect(result).not.toHaveProperty('duplicate')
    expect(result.id).not.toBe(old.id)
    expect(await pushed(anew, bob)).toEqual(['old', 'new'])
  })

  test('that ended with an error is answered with the same error, though it would succeed now', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 1 })
    await using alice = await joinSender(mesh.near, { leaderEligible: false })
    await using bob = await join(mesh.far, 'bob', { leaderEligible: false })
    await send(alice, 'bob', 'fills it')
    const attempts = [
      { to: { agent: 'carol' }, seq: 1 },
      { to: { leader: true }, seq: 2 },
      { to: { agent: 'bob' }, seq: 3 },
      { to: { agent: 'bob' }, seq: 4, asLeader: 1, messageType: 'response' },
    ]
    const codes = ['unknown_target', 'no_leader', 'inbox_full', 'stale_term']
    for (const [i, more] of attempts.entries()) {
      expect(await sendRefused(alice, more.to, 'never', more)).toBe(codes[i])
    }
    await using carol = await join(mesh.far, 'carol')
    ack(bob, await bob.next('message'))
    await bob.roundTrip()
    await alice.cut()
    await using again = await reconnect(mesh.far, alice, { producer: 'p1' })
    for (const [i, more] of attempts.entries()) {
      expect(await sendRefused(again, more.to, 'never', more)).toBe(codes[i])
    }
    // It is over with: what is right goes on with the next one.
    await send(again, 'carol', 'fine', { seq: 5 })
    expect(await pushed(again, carol)).toEqual(['fine'])
    expect(await pushed(again, bob)).toEqual([])
  })

  test('that was refused before the store had a say is over too: sent again in a right shape it fails alike', async () => {
    await using mesh = await startSpan(core, hubs, { maxMessageBytes: 8_192 })
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    const tooLarge = 'x'.repeat(5_000)
    expect(await sendRefused(alice, 'bob', tooLarge, { seq: 1 })).toBe('payload_too_large')
    expect(await sendRefused(alice, 'bob', 'x', { seq: 2, messageType: 'NO' })).toBe('bad_frame')
    expect(await sendRefused(alice, { agent: 'bob', name: 'b' }, 'x', { seq: 3 })).toBe('bad_frame')
    expect(await sendRefused(alice, 'bob', 'x', { seq: 4, receipt: 'yes' })).toBe('bad_frame')
    await alice.cut()
    await using again = await reconnect(mesh.far, alice, { producer: 'p1' })
    expect(await sendRefused(again, 'bob', 'small', { seq: 1 })).toBe('payload_too_large')
    for (const seq of [2, 3, 4]) expect(await sendRefused(again, 'bob', 'small', { seq })).toBe('bad_frame')
    await send(again, 'bob', 'fine', { seq: 5 })
    expect(await pushed(again, bob)).toEqual(['fine'])
  })

  test('of a transient message counts like any other, and sent again it is not pushed again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.far, 'carol')
    await send(alice, 'bob', 'stored', { seq: 1 })
    const transient = await send(alice, { all: true }, 'transient', { seq: 2, durability: 'transient' })
    expect(transient.recipients).toBe(2)
    await carol.cut()
    const again = await send(alice, { all: true }, 'transient', { seq: 2, durability: 'transient' })
    expect(again).toEqual({ ...transient, duplicate: true })
    await send(alice, 'bob', 'next', { seq: 3 })
    expect(await pushed(alice, bob)).toEqual(['stored', 'transient', 'next'])
  })

  test('more than 1,024 behind is seq_too_old, never ok', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 0 })
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.far, 'bob', { window: 10_000 })
    const first = await sendSeries(alice, 'bob', 1, 1024)
    expect(await send(alice, 'bob', 1, { seq: 1 })).toEqual({ ...first[0], duplicate: true })
    await send(alice, 'bob', 1025, { seq: 1025 })
    const error = await alice.refusal(sendFrame('bob', 1, { seq: 1 }))
    expect(error).toMatchObject({ code: 'seq_too_old', retryable: false })
    expect(await send(alice, 'bob', 2, { seq: 2 })).toEqual({ ...first[1], duplicate: true })
    const got = await read(bob, 1025)
    expect(got).toEqual(Array.from({ length: 1025 }, (_, i) => i + 1))
    expect(await pushed(alice, bob)).toEqual([])
  })
})

describe.each(CORES)('a session that was taken over, on %s', (core) => {
  /** A core that hears nothing of other sessions. */
  const deaf = (one: Core): Core => ({
    ...one,
    bus: {
      lossy: one.bus.lossy,
      publish: one.bus.publish.bind(one.bus),
      subscribe: async () => ({ close: async () => undefined }),
    },
  })

  test('cannot send any more, also while its hub has not heard of the takeover', async () => {
    await using mesh = await startSpan(core, 2, {}, (one, index) => (index === 0 ? deaf(one) : one))
    await using bob = await join(mesh.far, 'bob')
    await using alice = await joinSender(mesh.near)
    await send(alice, 'bob', 1, { seq: 1 })
    await using newcomer = await reconnect(mesh.far, alice, { producer: 'p1' })
    // The refusal makes the hub look, and the store tells it whose the agent is now.
    const error = await alice.refusal(sendFrame('bob', 'old session', { seq: 2 }))
    expect(error).toMatchObject({ code: 'store_unavailable' })
    expect(await alice.closed).toMatchObject({ code: 4409 })
    await send(newcomer, 'bob', 2, { seq: 2 })
    expect(await pushed(newcomer, bob)).toEqual([1, 2])
  })

  test('is closed 4409, and what it still sends is not stored', async () => {
    await using mesh = await startSpan(core, 2)
    await using bob = await join(mesh.far, 'bob', { window: 1_000 })
    const alice = await joinSender(mesh.near)
    const old = sendAll(
      alice,
      'bob',
      Array.from({ length: 100 }, () => 'old'),
    ).catch((error: unknown) => error)
    await using newcomer = await reconnect(mesh.far, alice, { producer: 'p1' })
    alice.raw(
      Array.from({ length: 50 }, () => JSON.stringify(sendFrame('bob', 'late', { ref: 1 }))).join('\n'),
    )
    expect(await alice.closed).toMatchObject({ code: 4409 })
    await old
    expect(await pushed(newcomer, bob)).not.toContain('late')
    expect(alice.waitingOf('ok').filter(({ ref }) => ref === 1)).toEqual([])
  })
})

test.each(CORES)('a stored seq outlives its hub on %s', async (core) => {
  await using mesh = await startSpan(core, 2)
  await using bob = await join(mesh.far, 'bob')
  const alice = await joinSender(mesh.near)
  const first = await send(alice, 'bob', 1, { seq: 1 })
  await mesh.near.close()
  await using again = await reconnect(mesh.far, alice, { producer: 'p1' })
  expect(await send(again, 'bob', 1, { seq: 1 })).toEqual({ ...first, duplicate: true })
  expect(await receive(bob, 1)).toMatchObject([{ id: first.id }])
  expect(await pushed(again, bob)).toEqual([])
})
