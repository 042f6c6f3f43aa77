import { describe, expect, test } from 'vitest'
import type { DeadLettersListResult, DeadLettersRedriveResult } from '../../protocol/replies.ts'
import { connectObserver, type TestAgent, type TestSocket } from '../support/agent.ts'
import { ack, asker, join, NLP, PLACES, reconnect, send, startSpan, watchDead } from '../support/talk.ts'

const list = (socket: TestSocket, more: object = {}): Promise<DeadLettersListResult> =>
  socket.request({ type: 'dead-letters.list', ...more })
const redrive = (socket: TestSocket, more: object): Promise<DeadLettersRedriveResult> =>
  socket.request({ type: 'dead-letters.redrive', ...more })
const purge = (socket: TestSocket, more: object): Promise<{ readonly purged: number }> =>
  socket.request({ type: 'dead-letters.purge', ...more })

/** Sends to `to`, and has `bob` give it up. */
async function kill(
  alice: TestAgent,
  bob: TestAgent,
  payload: unknown,
  { to = 'bob', reason = 'bad', more = {} }: { to?: string | object; reason?: string; more?: object } = {},
): Promise<string> {
  const { id } = await send(alice, to, payload, more)
  await bob.next('message')
  bob.send({ type: 'nack', id, requeue: false, reason })
  return id
}

describe.each(PLACES)('dead letters, on %s with %i hub(s)', (core, hubs) => {
  test('are listed with reason, attempts and times, and inspected with their payload', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const direct = await kill(alice, bob, { n: 1 })
    await dead.next()
    const work = await kill(alice, bob, { n: 2 }, { to: NLP, reason: 'no GPU' })
    await dead.next()
    const isTime = expect.stringMatching(/^\d{4}-.*Z$/)
    const { deadLetters, ...rest } = await list(alice)
    expect(rest).toEqual({ cursor: null, kept: 2, dropped: 0 })
    const common = {
      from: 'alice',
      messageType: 'notification',
      attempts: 1,
      createdAt: isTime,
      deadAt: isTime,
    }
    expect(deadLetters).toEqual([
      {
        ...common,
        position: expect.any(String),
        messageId: direct,
        agentId: 'bob',
        capability: null,
        reason: 'bad',
      },
      {
        ...common,
        position: expect.any(String),
        messageId: work,
        agentId: 'bob',
        capability: 'nlp',
        reason: 'no GPU',
      },
    ])
    await using observer = await connectObserver(mesh.far)
    const found = await list(observer, { where: { messageId: work }, payload: true })
    expect(found.deadLetters).toMatchObject([{ messageId: work, payload: { n: 2 } }])
    for (const where of [
      { reason: 'no GPU' },
      { capability: 'nlp' },
      { agentId: 'bob', from: 'alice', messageType: 'notification', reason: 'no GPU' },
    ])
      expect((await list(alice, { where })).deadLetters.map(({ messageId }) => messageId)).toEqual([work])
    expect((await list(alice, { where: { agentId: 'carol' } })).deadLetters).toEqual([])
  })

  test('are listed page by page', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const ids: string[] = []
    for (let n = 0; n < 7; n++) {
      ids.push(await kill(alice, bob, n, { reason: n % 2 === 0 ? 'even' : 'odd' }))
      await dead.next()
    }
    const listed: (string | null)[] = []
    let cursor: string | null = null
    let pages = 0
    do {
      const page: DeadLettersListResult = await list(alice, { where: { reason: 'even' }, limit: 2, cursor })
      listed.push(...page.deadLetters.map(({ messageId }) => messageId))
      cursor = page.cursor
      pages++
    } while (cursor !== null)
    expect(listed).toEqual(ids.filter((_, n) => n % 2 === 0))
    expect(pages).toBe(2)
  })

  test('with large payloads come in pages of at most 256 KiB', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    for (let n = 0; n < 3; n++) {
      await kill(alice, bob, 'x'.repeat(150_000))
      await dead.next()
    }
    const first = await list(alice, { payload: true })
    expect(first.deadLetters.length).toBe(1)
    expect(first.cursor).not.toBeNull()
    expect((await list(alice)).deadLetters.length).toBe(3)
  })

  test('are sent again one by one: to the inbox and to the queue, as new, with the same id', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const direct = await kill(alice, bob, 1)
    await dead.next()
    const work = await kill(alice, bob, 2, { to: NLP })
    await dead.next()
    const [first, second] = (await list(alice)).deadLetters
    if (!first || !second) throw new Error('unreachable')
    expect(await redrive(alice, { positions: [first.position] })).toEqual({ redriven: 1, failed: [] })
    const again = await bob.next('message')
    expect(again).toMatchObject({ id: direct, payload: 1, via: 'direct', attempt: 1 })
    ack(bob, again)
    expect((await list(alice)).deadLetters).toEqual([second])
    await redrive(alice, { positions: [first.position, second.position] })
    expect(await bob.next('message')).toMatchObject({ id: work, payload: 2, via: 'queue', attempt: 1 })
    expect(await list(alice)).toEqual({ deadLetters: [], cursor: null, kept: 0, dropped: 0 })
  })

  test('are sent again by filter; what cannot be stays, and is told why', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 2 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob', { window: 100 })
    for (let n = 0; n < 4; n++) {
      await kill(alice, bob, n)
      await dead.next()
    }
    await using gone = await join(mesh.near, 'gone')
    await kill(alice, gone, 'lost', { to: 'gone' })
    await dead.next()
    await gone.request({ type: 'bye' })
    const { redriven, failed } = await redrive(alice, { where: { reason: 'bad' } })
    expect(redriven).toBe(2)
    expect(failed.map(({ code }) => code)).toEqual(['inbox_full', 'inbox_full', 'unknown_target'])
    expect((await list(alice)).kept).toBe(3)
    expect((await bob.next('message')).payload).toBe(0)
    expect((await bob.next('message')).payload).toBe(1)
  })

  test('that expired are sent again without a time to live', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'bye', keep: true })
    const { id } = await send(alice, 'bob', 'late', { ttlMs: 50 })
    await dead.next()
    expect(await redrive(alice, { where: {} })).toEqual({ redriven: 1, failed: [] })
    await using back = await reconnect(mesh.far, bob)
    const message = await back.next('message')
    expect(message).toMatchObject({ id, payload: 'late', attempt: 1 })
    expect(message).not.toHaveProperty('expiresAt')
  })

  test('give no second final receipt when they are sent again', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await kill(alice, bob, 1, { more: { receipt: true } })
    await dead.next()
    expect((await alice.next('receipt')).status).toBe('dead_lettered')
    await redrive(alice, { where: {} })
    ack(bob, await bob.next('message'))
    const { id } = await send(alice, 'bob', 2, { receipt: true })
    ack(bob, await bob.next('message'))
    expect(await alice.next('receipt')).toMatchObject({ id, status: 'acked' })
  })

  test('are purged by position and by filter', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    for (const reason of ['a', 'b', 'b']) {
      await kill(alice, bob, reason, { reason })
      await dead.next()
    }
    const [first] = (await list(alice)).deadLetters
    expect(await purge(alice, { positions: [first?.position ?? '', '99999999999999-0'] })).toEqual({
      purged: 1,
    })
    expect(await purge(alice, { where: { reason: 'c' } })).toEqual({ purged: 0 })
    expect(await purge(alice, { where: { reason: 'b' } })).toEqual({ purged: 2 })
    expect(await list(alice)).toEqual({ deadLetters: [], cursor: null, kept: 0, dropped: 0 })
  })

  test('are capped, the oldest out, and counted', async () => {
    await using mesh = await startSpan(core, hubs, { deadMax: 2 })
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const ids: string[] = []
    for (let n = 0; n < 5; n++) {
      ids.push(await kill(alice, bob, n))
      await dead.next()
    }
    const { deadLetters, kept, dropped } = await list(alice)
    expect(deadLetters.map(({ messageId }) => messageId)).toEqual(ids.slice(3))
    expect({ kept, dropped }).toEqual({ kept: 2, dropped: 3 })
    await purge(alice, { where: {} })
    expect(await list(alice)).toMatchObject({ kept: 0, dropped: 3 })
  })

  test('come of an agent’s end: its inbox, its broadcasts as one record', async () => {
    await using mesh = await startSpan(core, hubs)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    const { id } = await send(alice, 'bob', 'one')
    await send(alice, { all: true }, 'all')
    await bob.next('message')
    await bob.request({ type: 'bye' })
    await dead.next()
    await dead.next()
    const { deadLetters } = await list(alice)
    expect(deadLetters).toMatchObject([
      { messageId: id, agentId: 'bob', reason: 'unregistered', attempts: 0 },
      { messageId: null, agentId: 'bob', reason: 'unregistered', broadcasts: { from: 1, to: 1 } },
    ])
    expect(await redrive(alice, { where: {} })).toMatchObject({
      redriven: 0,
      failed: [{ code: 'unknown_target' }, { code: 'not_a_message' }],
    })
  })

  test('are asked for by one way only, by positions that a hub gave', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    for (const type of ['dead-letters.redrive', 'dead-letters.purge']) {
      expect((await alice.refusal({ type })).code).toBe('bad_frame')
      expect((await alice.refusal({ type, positions: ['1-0'], where: {} })).code).toBe('bad_frame')
      expect((await alice.refusal({ type, positions: ['x'] })).message).toContain('"x"')
      expect((await alice.refusal({ type, positions: [] })).code).toBe('bad_frame')
    }
    for (const where of [{ messageID: 'x' }, { reason: null }]) {
      const error = await alice.refusal({ type: 'dead-letters.purge', where })
      expect(error.code).toBe('bad_frame')
      expect(error.message).toContain(Object.keys(where)[0])
    }
    expect((await alice.refusal({ type: 'dead-letters.list', cursor: 'nonsense' })).code).toBe('bad_frame')
    expect((await alice.refusal({ type: 'dead-letters.list', where: { reason: 3 } })).code).toBe('bad_frame')
  })
})
