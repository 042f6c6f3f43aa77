import { describe, expect, test } from 'vitest'
import type { Message, Receipt } from '../../protocol/pushes.ts'
import {
  ack,
  asker,
  join,
  leave,
  nack,
  NLP,
  PLACES,
  reconnect,
  seen,
  send,
  sendRefused,
  startSpan,
} from '../support/talk.ts'

const receipt = { receipt: true }

const isTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

const receiptOf = (id: string, fields: Partial<Receipt>): object => ({
  type: 'receipt',
  receiptId: expect.any(String),
  id,
  agentId: null,
  reason: null,
  at: isTime,
  ...fields,
})

describe.each(PLACES)('a receipt, on %s with %i hub(s)', (core, hubs) => {
  test('tells once that a direct message was begun, and once that it was acknowledged', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 'one', receipt)
    const one = await bob.next('message')
    bob.send({ type: 'progress', ids: [id] })
    bob.send({ type: 'progress', ids: [id] })
    const begun = await alice.next('receipt')
    expect(begun).toEqual(receiptOf(id, { agentId: 'bob', status: 'in_progress' }))
    ack(bob, one)
    const acked = await alice.next('receipt')
    expect(acked).toEqual(receiptOf(id, { agentId: 'bob', status: 'acked' }))
    expect(acked.receiptId).not.toBe(begun.receiptId)
    await alice.roundTrip()
    expect(alice.waitingOf('receipt')).toEqual([])
  })

  test('is acknowledged by its receiptId, and comes again until then', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 'one', receipt)
    ack(bob, await bob.next('message'))
    const first = await alice.next('receipt')
    await leave(alice, mesh.far)
    await using back = await reconnect(mesh.far, alice)
    expect(back.welcome.pending).toBe(1)
    expect(await back.next('receipt')).toEqual(first)
    expect(first.id).toBe(id)
    back.send({ type: 'ack', ids: [first.receiptId] })
    await leave(back, mesh.near)
    await using again = await reconnect(mesh.near, back)
    expect(again.welcome.pending).toBe(0)
  })

  test('waits for a sender that is away, and finds it on another hub', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, NLP, 'one', receipt)
    const one = await bob.next('message')
    await leave(alice, mesh.far)
    ack(bob, one)
    await bob.roundTrip()
    await using back = await reconnect(mesh.far, alice)
    expect(await back.next('receipt')).toEqual(receiptOf(id, { agentId: 'bob', status: 'acked' }))
  })

  test('of work tells who began it, and who ended it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, NLP, 'one', receipt)
    await bob.next('message')
    bob.send({ type: 'progress', ids: [id] })
    expect(await alice.next('receipt')).toEqual(receiptOf(id, { agentId: 'bob', status: 'in_progress' }))
    await using carol = await join(mesh.near, 'carol')
    await seen(mesh.far, 'carol')
    nack(bob, { id } as Message)
    const again = await carol.next('message')
    ack(carol, again)
    expect(await alice.next('receipt')).toEqual(receiptOf(id, { agentId: 'carol', status: 'acked' }))
  })

  test('tells that a message was given up, and why', async () => {
    await using mesh = await startSpan(core, hubs, { maxAttempts: 2 })
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const direct = await send(alice, 'bob', 'direct', receipt)
    nack(bob, await bob.next('message'), { requeue: false, reason: 'no GPU' })
    expect(await alice.next('receipt')).toEqual(
      receiptOf(direct.id, { agentId: 'bob', status: 'dead_lettered', reason: 'no GPU' }),
    )
    const work = await send(alice, NLP, 'work', receipt)
    nack(bob, await bob.next('message'))
    nack(bob, await bob.next('message'))
    expect(await alice.next('receipt')).toEqual(
      receiptOf(work.id, { agentId: 'bob', status: 'dead_lettered', reason: 'max_attempts' }),
    )
  })

  test('tells that a message expired: in an inbox, in a queue, in a delay', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    const inbox = await send(alice, 'bob', 'one', { ...receipt, ttlMs: 100 })
    expect(await alice.next('receipt')).toEqual(receiptOf(inbox.id, { agentId: 'bob', status: 'expired' }))
    const queue = await send(alice, { capability: 'ocr' }, 'two', { ...receipt, ttlMs: 100 })
    expect(await alice.next('receipt')).toEqual(receiptOf(queue.id, { status: 'expired' }))
    await using back = await reconnect(mesh.far, bob)
    const delayed = await send(alice, 'bob', 'three', { ...receipt, ttlMs: 400 })
    nack(back, await back.next('message'), { delayMs: 600 })
    expect(await alice.next('receipt')).toEqual(receiptOf(delayed.id, { agentId: 'bob', status: 'expired' }))
  })

  test('tells that the recipient is gone', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 'one', receipt)
    await bob.next('message')
    await bob.request({ type: 'bye' })
    expect(await alice.next('receipt')).toEqual(
      receiptOf(id, { agentId: 'bob', status: 'dead_lettered', reason: 'unregistered' }),
    )
  })

  test('travels in the lane of replies: a full window of work does not hold it up', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { ...asker, window: 1 })
    await using bob = await join(mesh.far, 'bob')
    await send(bob, 'alice', 'fills the window')
    const { id } = await send(alice, 'bob', 'one', receipt)
    ack(bob, await bob.next('message'))
    expect(await alice.next('receipt')).toMatchObject({ id, status: 'acked' })
  })

  test('comes once for a message whose seq was sent again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { ...asker, producer: 'p1' })
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 'one', { ...receipt, seq: 1 })
    await send(alice, 'bob', 'one', { ...receipt, seq: 1 })
    ack(bob, await bob.next('message'))
    await alice.next('receipt')
    await send(alice, 'bob', 'two', { seq: 2 })
    ack(bob, await bob.next('message'))
    await bob.request({ type: 'bye' })
    await alice.roundTrip()
    expect(alice.waitingOf('receipt')).toEqual([])
  })

  test('is refused with broadcasts and transient messages', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    expect(await sendRefused(alice, { all: true }, 1, receipt)).toBe('bad_frame')
    expect(await sendRefused(alice, { capability: 'nlp', mode: 'all' }, 1, receipt)).toBe('bad_frame')
    expect(await sendRefused(alice, 'alice', 1, { ...receipt, durability: 'transient' })).toBe('bad_frame')
  })

  test('is not kept for a sender that is gone', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await send(alice, 'bob', 'one', receipt)
    const one = await bob.next('message')
    await alice.request({ type: 'bye' })
    ack(bob, one)
    await leave(bob, mesh.near)
    await using back = await reconnect(mesh.near, bob)
    expect(back.welcome.pending).toBe(0)
    await using again = await join(mesh.near, 'alice', asker)
    expect(again.welcome.pending).toBe(0)
  })
})
