import { describe, expect, test } from 'vitest'
import { CORES, startTestHub } from '../support/hubs.ts'
import {
  ack,
  join,
  PLACES,
  read,
  receive,
  reconnect,
  seen,
  send,
  sendRefused,
  startSpan,
} from '../support/talk.ts'

const transient = { durability: 'transient' }

describe.each(PLACES)('a transient message, on %s with %i hub(s)', (core, hubs) => {
  test('is pushed to who is connected, and says what it is', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const { id, recipients } = await send(
      alice,
      'bob',
      { x: 1 },
      { ...transient, correlationId: 'c1', ttlMs: 1_000 },
    )
    expect(recipients).toBe(1)
    expect(await bob.next('message')).toEqual({
      type: 'message',
      id,
      from: 'alice',
      via: 'direct',
      messageType: 'notification',
      payload: { x: 1 },
      correlationId: 'c1',
      createdAt: expect.any(String),
      expiresAt: expect.any(String),
      transient: true,
      attempt: 1,
    })
  })

  test.each([
    ['a name', { name: 'bob-name' }, 'direct', 1],
    ['the leader', { leader: true }, 'direct', 1],
    ['a group', { group: 'eu' }, 'group', 1],
    ['a capability', { capability: 'vision', mode: 'all' }, 'capability', 1],
    ['all', { all: true }, 'broadcast', 2],
  ])('to %s reaches the connected ones and counts them', async (_, to, via, recipients) => {
    await using mesh = await startSpan(core, hubs)
    await using bob = await join(mesh.far, 'bob', { groups: ['eu'], capabilities: ['vision'] })
    await using alice = await join(mesh.near, 'alice', { groups: ['eu'], capabilities: ['vision'] })
    await using carol = await join(mesh.near, 'carol')
    const away = await join(mesh.far, 'away', { groups: ['eu'], capabilities: ['vision'] })
    await away.request({ type: 'bye', keep: true })
    await seen(mesh.near, 'away', ({ connected }) => !connected)
    expect(await send(alice, to, 'now', transient)).toMatchObject({ recipients })
    expect(await bob.next('message')).toMatchObject({ via, payload: 'now', transient: true })
    if (recipients === 2) expect(await carol.next('message')).toMatchObject({ via, payload: 'now' })
    await send(bob, 'alice', 'marker', transient)
    expect(await read(alice, 1)).toEqual(['marker'])
  })

  test('with echo reaches the sender too', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    expect(await send(alice, { all: true }, 'now', { ...transient, echo: true })).toMatchObject({
      recipients: 2,
    })
    expect(await read(alice, 1)).toEqual(['now'])
    expect(await read(bob, 1)).toEqual(['now'])
  })

  test('to an agent that is not connected is ok with no recipients, and gone', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await bob.cut()
    await seen(mesh.near, 'bob', ({ connected }) => !connected)
    expect(await send(alice, 'bob', 'lost', transient)).toEqual({ id: expect.any(String), recipients: 0 })
    await using back = await reconnect(mesh.far, bob)
    expect(back.welcome.pending).toBe(0)
    await send(alice, 'bob', 'stored')
    expect(await read(back, 1)).toEqual(['stored'])
  })

  test('is refused where a stored one would be', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { leaderEligible: false })
    expect(await sendRefused(alice, 'nobody', 1, transient)).toBe('unknown_target')
    expect(await sendRefused(alice, { name: 'nobody' }, 1, transient)).toBe('unknown_target')
    expect(await sendRefused(alice, { leader: true }, 1, transient)).toBe('no_leader')
    expect(await sendRefused(alice, 'alice', 1, { ...transient, asLeader: 1 })).toBe('stale_term')
    expect(await sendRefused(alice, {}, 1, transient)).toBe('bad_frame')
  })

  test('needs no window place and no acknowledgement, and does not come again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { window: 1 })
    await send(alice, 'bob', 'fills the window')
    const [stored] = await receive(bob, 1)
    for (let i = 0; i < 5; i++) await send(alice, 'bob', i, transient)
    expect(await read(bob, 5)).toEqual([0, 1, 2, 3, 4])
    await send(alice, 'bob', 'waits')
    // An acknowledgement of one means nothing and frees no place.
    await send(alice, 'bob', 'a', transient)
    ack(bob, ...(await receive(bob, 1)))
    await send(alice, 'bob', 'b', transient)
    expect(await read(bob, 1)).toEqual(['b'])
    if (stored) ack(bob, stored)
    expect(await read(bob, 1)).toEqual(['waits'])
    await bob.cut()
    await using back = await reconnect(mesh.near, bob)
    expect(await read(back, 1)).toEqual(['waits'])
  })

  test('and another of the same sender arrive in order', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    const numbers = Array.from({ length: 100 }, (_, i) => i)
    await Promise.all(numbers.map((i) => send(alice, i % 2 ? 'bob' : { all: true }, i, transient)))
    expect(await read(bob, 100)).toEqual(numbers)
  })
})

test.each(CORES)(
  'a transient message is dropped where the socket is behind, the socket lives on, on %s',
  async (core) => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    bob.pause()
    const payload = 'x'.repeat(900_000)
    // More than kernel buffers and the hub's limit together hold.
    const count = 24
    for (let i = 0; i < count; i++) await send(alice, 'bob', { i, payload }, transient)
    bob.resume()
    await bob.roundTrip()
    const got = bob.waitingOf('message').map((message) => (message.payload as { i: number }).i)
    expect(got.length).toBeGreaterThan(0)
    expect(got.length).toBeLessThan(count)
    expect(got).toEqual(Array.from({ length: got.length }, (_, i) => i))
    await send(alice, 'bob', 'here again', transient)
    expect(await bob.next('message', (message) => message.payload === 'here again')).toMatchObject({
      transient: true,
    })
  },
)
