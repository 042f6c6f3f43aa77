import { describe, expect, test } from 'vitest'
import type { Message } from '../../protocol/pushes.ts'
import {
  ack,
  asker,
  join,
  nack,
  NLP,
  PLACES,
  pushed,
  read,
  receive,
  reconnect,
  seen,
  send,
  sendAll,
  startSpan,
  watchDead,
} from '../support/talk.ts'
import { endOf } from '../support/end-of.ts'

describe.each(PLACES)('work that its holder loses, on %s with %i hub(s)', (core, hubs) => {
  /** Alice has asked for work, and bob, at the far end, has it. */
  async function bobAtWork(settings: Parameters<typeof startSpan>[2] = {}) {
    const mesh = await startSpan(core, hubs, settings)
    const alice = await join(mesh.near, 'alice', asker)
    const bob = await join(mesh.far, 'bob')
    await send(alice, NLP, 'one')
    const one = await bob.next('message')
    return { mesh, alice, bob, one, ...endOf(bob, alice, mesh) }
  }

  /** Bob has rejected work while busy, who is preferred for it now, has other work. */
  async function bobPassedOver() {
    const mesh = await startSpan(core, hubs)
    const alice = await join(mesh.near, 'alice', asker)
    const busy = await join(mesh.near, 'busy')
    await send(alice, NLP, 'first')
    await busy.next('message')
    const bob = await join(mesh.far, 'bob')
    await send(alice, NLP, 'second')
    const second = await bob.next('message')
    nack(bob, second)
    return { alice, busy, bob, second, ...endOf(bob, busy, alice, mesh) }
  }

  test('goes to another agent when it is rejected, and to the same one where there is no other', async () => {
    await using talk = await bobAtWork()
    const { mesh, bob, one } = talk
    nack(bob, one)
    expect(await bob.next('message')).toEqual({ ...one, attempt: 2 })
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.far, 'carol')
    nack(bob, one)
    expect(await carol.next('message')).toEqual({ ...one, attempt: 3 })
    nack(carol, one)
    expect(await bob.next('message')).toEqual({ ...one, attempt: 4 })
  })

  test('waits for its agent that comes back when the others, who were preferred, go', async () => {
    await using talk = await bobPassedOver()
    const { alice, busy, bob, second } = talk
    expect(await pushed(alice, bob)).toEqual([])
    await busy.cut()
    expect(await bob.next('message')).toEqual({ ...second, attempt: 2 })
  })

  test('waits for the agent that lost it until the others, who were preferred, give the capability up', async () => {
    await using talk = await bobPassedOver()
    const { alice, busy, bob, second } = talk
    expect(await pushed(alice, bob)).toEqual([])
    await busy.request({ type: 'update', capabilities: ['ocr'] })
    expect(await bob.next('message', () => true, 2_000)).toEqual({ ...second, attempt: 2 })
  })

  test('is pushed to nobody before delayMs, and frees its holder for other work at once', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.near, 'bob')
    await sendAll(alice, NLP, ['a', 'b'])
    const [a] = await receive(bob, 1)
    const [b] = await receive(carol, 1)
    if (!a || !b) throw new Error('unreachable')
    const at = performance.now()
    nack(bob, a, { delayMs: 300 })
    await send(alice, NLP, 'c')
    expect(await read(bob, 1)).toEqual(['c'])
    ack(carol, b)
    expect(await carol.next('message')).toEqual({ ...a, attempt: 2 })
    expect(performance.now() - at).toBeGreaterThanOrEqual(298)
  })

  test('is somebody else’s at once when its holder says bye', async () => {
    await using talk = await bobAtWork({ graceMs: 60_000 })
    const { mesh, bob, one } = talk
    await using carol = await join(mesh.near, 'carol')
    await bob.request({ type: 'bye', keep: true })
    expect(await carol.next('message')).toEqual({ ...one, attempt: 2 })
    await using dave = await join(mesh.far, 'dave')
    await carol.request({ type: 'bye' })
    expect(await dave.next('message')).toEqual({ ...one, attempt: 3 })
  })

  test('is somebody else’s when the grace period of its holder is over, and no sooner', async () => {
    await using talk = await bobAtWork({ graceMs: 500 })
    const { mesh, bob, one } = talk
    await using carol = await join(mesh.near, 'carol')
    await bob.cut()
    const at = performance.now()
    expect(await carol.next('message')).toEqual({ ...one, attempt: 2 })
    expect(performance.now() - at).toBeGreaterThanOrEqual(490)
    expect(performance.now() - at).toBeLessThan(1_500)
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.work).toEqual([])
  })

  test('is not given to one that let it time out and says nothing any more, until it does', async () => {
    await using mesh = await startSpan(core, hubs, { ackTimeoutMs: 300 })
    await using alice = await join(mesh.near, 'alice', asker)
    await using frozen = await join(mesh.far, 'frozen', { autoPong: false })
    await send(alice, NLP, 'one')
    const one = await frozen.next('message')
    await frozen.next('revoked')
    await frozen.next('ping')
    await using carol = await join(mesh.near, 'carol')
    expect(await carol.next('message')).toEqual({ ...one, attempt: 2 })
    await send(alice, NLP, 'two')
    expect(await pushed(alice, frozen)).toEqual([])
    frozen.send({ type: 'pong' })
    expect(await read(frozen, 1)).toEqual(['two'])
    ack(carol, one)
  })

  test('is its holder’s again when it comes back in time, on whatever hub, and its late acknowledgement counts', async () => {
    await using talk = await bobAtWork({ graceMs: 60_000 })
    const { mesh, alice, bob, one } = talk
    await using carol = await join(mesh.near, 'carol')
    await bob.cut()
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.work).toEqual([one.id])
    expect(await back.next('message')).toEqual({ ...one, attempt: 2 })
    expect(await pushed(alice, carol)).toEqual([])
    await send(alice, NLP, 'two')
    const two = await carol.next('message')
    ack(back, one)
    await send(alice, NLP, 'three')
    expect(await read(back, 1)).toEqual(['three'])
    ack(carol, two)
  })

  test('is taken from a holder that is silent for ackTimeoutMs, who is told; its late ack changes nothing', async () => {
    await using talk = await bobAtWork({ ackTimeoutMs: 400 })
    const { mesh, bob, one } = talk
    const at = performance.now()
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.far, 'carol')
    expect(await bob.next('revoked')).toEqual({ type: 'revoked', ids: [one.id], reason: 'ack_timeout' })
    expect(performance.now() - at).toBeGreaterThanOrEqual(390)
    expect(await carol.next('message')).toEqual({ ...one, attempt: 2 })
    ack(bob, one)
    await bob.roundTrip()
    nack(carol, one)
    expect(await bob.next('message')).toEqual({ ...one, attempt: 3 })
  })

  test('stays with a holder that tells its progress', async () => {
    await using mesh = await startSpan(core, hubs, { ackTimeoutMs: 400 })
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.far, 'carol')
    await sendAll(alice, NLP, ['a', 'b'])
    const [mine] = await receive(bob, 1)
    const [other] = await receive(carol, 1)
    if (!mine || !other) throw new Error('unreachable')
    const timer = setInterval(() => bob.send({ type: 'progress', ids: [mine.id, 'unknown'] }), 100)
    try {
      // The other one, which nobody speaks of, is lost twice meanwhile.
      await carol.next('revoked')
      await using dave = await join(mesh.near, 'dave')
      await dave.next('message')
      await dave.next('revoked')
    } finally {
      clearInterval(timer)
    }
    expect(bob.waitingOf('revoked')).toEqual([])
    ack(bob, mine)
    await bob.roundTrip()
  })

  test('is given up after maxAttempts failures of any kind, and at once without requeue', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 3, ackTimeoutMs: 300, graceMs: 200 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, NLP, 'one')
    nack(bob, await bob.next('message'))
    await bob.next('message')
    await bob.next('revoked')
    await bob.next('message')
    nack(bob, { id } as Message, { reason: 'no GPU' })
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'no GPU' })
    const second = await send(alice, NLP, 'two')
    nack(bob, await bob.next('message'), { requeue: false })
    expect(await dead.next()).toEqual({ messageId: second.id, agentId: 'bob', reason: 'max_attempts' })
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('is given up as holder_lost when that was the last failure allowed', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 1, graceMs: 100 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, NLP, 'one')
    await bob.next('message')
    await bob.cut()
    expect(await dead.next()).toEqual({ messageId: id, agentId: 'bob', reason: 'holder_lost' })
  })

  test('is not given up by coming back again and again', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 2 })
    await using alice = await join(mesh.near, 'alice', asker)
    let bob = await join(mesh.far, 'bob')
    await send(alice, NLP, 'one')
    for (let attempt = 1; attempt <= 5; attempt++) {
      expect(await bob.next('message')).toMatchObject({ payload: 'one', attempt })
      const before = bob
      await before.cut()
      bob = await reconnect(attempt % 2 === 0 ? mesh.near : mesh.far, before)
    }
    ack(bob, await bob.next('message'))
    await bob.roundTrip()
    await bob.cut()
  })

  test('expires while it waits, while it is delayed, and when it is lost too late', async () => {
    await using mesh = await startSpan(core, hubs, { ackTimeoutMs: 600 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    const waiting = await send(alice, NLP, 'waiting', { ttlMs: 200 })
    expect(await dead.next()).toEqual({ messageId: waiting.id, agentId: null, reason: 'expired' })
    await using bob = await join(mesh.far, 'bob')
    const delayed = await send(alice, NLP, 'delayed', { ttlMs: 400 })
    nack(bob, await bob.next('message'), { delayMs: 60_000 })
    expect(await dead.next()).toEqual({ messageId: delayed.id, agentId: 'bob', reason: 'expired' })
    const held = await send(alice, NLP, 'held', { ttlMs: 200 })
    await bob.next('message')
    expect(await dead.next()).toEqual({ messageId: held.id, agentId: 'bob', reason: 'expired' })
    await bob.next('revoked')
  })

  test('may still be acknowledged by its holder after its time to live', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await send(alice, NLP, 'held', { ttlMs: 500 })
    const held = await bob.next('message')
    // Whoever expires after it is given up: then it would have been too.
    const after = await send(alice, { capability: 'nobody-can' }, 'after', { ttlMs: 600 })
    expect((await dead.next()).messageId).toBe(after.id)
    ack(bob, held)
    await bob.request({ type: 'bye' })
    const store = await mesh.store()
    expect(await store.queues.size('default', 'nlp')).toBe(0)
    expect((await store.deadLetters.list('default', null, 10)).length).toBe(1)
  })
})
