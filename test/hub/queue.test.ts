import { describe, expect, test } from 'vitest'
import type { Message } from '../../protocol/pushes.ts'
import type { SendResult } from '../../protocol/replies.ts'
import type { TestAgent } from '../support/agent.ts'
import {
  ack,
  asker,
  join,
  NLP,
  numbers,
  PLACES,
  pushed,
  read,
  receive,
  reconnect,
  seen,
  send,
  sendAll,
  sendRefused,
  startSpan,
} from '../support/talk.ts'

const OCR = { capability: 'ocr' }

/** Takes one message after another and acknowledges each, until `done`; answers what it took. */
function work(worker: TestAgent, onTask: (task: Message) => void): void {
  const next = async (): Promise<void> => {
    for (;;) {
      const task = await worker.next('message', () => true, 60_000)
      onTask(task)
      ack(worker, task)
    }
  }
  // Ends with the connection.
  next().catch(() => undefined)
}

/** The first message that either gets. */
async function nextOf(one: TestAgent, two: TestAgent): Promise<Message> {
  for (;;) {
    await Promise.all([one.roundTrip(), two.roundTrip()])
    for (const agent of [one, two]) if (agent.waitingOf('message').length > 0) return agent.next('message')
  }
}

describe.each(PLACES)('a work queue, on %s with %i hub(s)', (core, hubs) => {
  test('hands each message to one agent with the capability, with via, capability and attempt 1', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using one = await join(mesh.near, 'one')
    await using two = await join(mesh.far, 'two')
    await seen(mesh.near, 'two')
    const result = await send(alice, NLP, 'hello', { messageType: 'task_delegation', correlationId: 'c1' })
    expect(result.recipients).toBe(2)
    const message = await nextOf(one, two)
    expect(message).toMatchObject({
      id: result.id,
      from: 'alice',
      via: 'queue',
      capability: 'nlp',
      messageType: 'task_delegation',
      payload: 'hello',
      correlationId: 'c1',
      attempt: 1,
    })
    expect([...(await pushed(alice, one)), ...(await pushed(alice, two))]).toEqual([])
  })

  test('holds back what nobody has room for, in order, and gives it to whoever has room first', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob', { concurrency: 2 })
    await sendAll(alice, NLP, numbers(6))
    const [first, second] = await receive(bob, 2)
    expect([first?.payload, second?.payload]).toEqual([0, 1])
    expect(await pushed(alice, bob)).toEqual([])
    if (second) ack(bob, second)
    const third = await bob.next('message')
    expect(third.payload).toBe(2)
    await using carol = await join(mesh.near, 'carol')
    const fourth = await carol.next('message')
    expect(fourth.payload).toBe(3)
    ack(carol, fourth)
    if (first) ack(bob, first, third)
    expect(new Set([...(await read(carol, 1)), ...(await read(bob, 1))])).toEqual(new Set([4, 5]))
  })

  test('keeps what nobody can do yet, and hands it to the first that can', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    expect((await send(alice, OCR, 'scan')).recipients).toBe(0)
    await using bob = await join(mesh.far, 'bob', { capabilities: ['ocr'] })
    expect(await read(bob, 1)).toEqual(['scan'])
  })

  test('hands work to an agent that learns the capability by update', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await send(alice, OCR, 'scan')
    await bob.request({ type: 'update', capabilities: ['nlp', 'ocr'] })
    expect(await read(bob, 1)).toEqual(['scan'])
    await bob.request({ type: 'update', capabilities: ['nlp'], concurrency: 2 })
    await send(alice, OCR, 'another')
    await send(alice, NLP, 'other')
    expect(await read(bob, 1)).toEqual(['other'])
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('refuses with no_capable_agent where the sender says ifNone fail, also when the seq is repeated', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { ...asker, producer: 'p1' })
    const error = await alice.refusal({
      type: 'send',
      seq: 1,
      to: OCR,
      ifNone: 'fail',
      messageType: 'query',
      payload: 1,
    })
    expect(error).toMatchObject({ code: 'no_capable_agent', retryable: true })
    expect(error.message).toContain('"ocr"')
    await using bob = await join(mesh.far, 'bob', { capabilities: ['ocr'] })
    await seen(mesh.near, 'bob')
    expect(await sendRefused(alice, OCR, 1, { seq: 1, ifNone: 'fail' })).toBe('no_capable_agent')
    expect((await send(alice, OCR, 2, { seq: 2, ifNone: 'fail' })).recipients).toBe(1)
    expect(await read(bob, 1)).toEqual([2])
  })

  test('counts an agent that is away as capable: its work waits for it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob', { capabilities: ['ocr'] })
    await bob.request({ type: 'bye', keep: true })
    expect((await send(alice, OCR, 'scan', { ifNone: 'fail' })).recipients).toBe(1)
    await using back = await reconnect(mesh.near, bob, { capabilities: ['ocr'] })
    expect(await read(back, 1)).toEqual(['scan'])
  })

  test('answers a repeated seq with the first answer and stores it once', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { ...asker, producer: 'p1' })
    await using bob = await join(mesh.far, 'bob', { concurrency: 8 })
    await using carol = await join(mesh.far, 'carol', asker)
    await seen(mesh.near, 'bob')
    const first = await send(alice, NLP, 'one', { seq: 1 })
    const again = await send(alice, NLP, 'one', { seq: 1 })
    expect(again).toEqual({ ...first, duplicate: true } satisfies SendResult)
    expect(await read(bob, 1)).toEqual(['one'])
    expect(await pushed(carol, bob)).toEqual([])
  })

  test('never gives an agent with two capabilities and room for one message two', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using carol = await join(mesh.far, 'carol', asker)
    await using bob = await join(mesh.far, 'bob', { capabilities: ['nlp', 'ocr'] })
    const count = 20
    await Promise.all([sendAll(alice, NLP, numbers(count)), sendAll(carol, OCR, numbers(count))])
    for (let taken = 0; taken < 2 * count; taken++) {
      const task = await bob.next('message')
      await bob.roundTrip()
      expect(bob.waitingOf('message')).toEqual([])
      ack(bob, task)
    }
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('counts work in the window too', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob', { concurrency: 8, window: 2 })
    await send(alice, 'bob', 'direct')
    const direct = await bob.next('message')
    await sendAll(alice, NLP, ['a', 'b'])
    const a = await bob.next('message')
    expect(a.payload).toBe('a')
    expect(await pushed(alice, bob)).toEqual([])
    ack(bob, direct)
    expect(await read(bob, 1)).toEqual(['b'])
    ack(bob, a)
  })

  test('leaves none of ten workers idle while messages wait, and one that is slow holds up no others', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    const workers = await Promise.all(
      numbers(10).map((index) => join(index % 2 === 0 ? mesh.near : mesh.far, `worker-${index}`)),
    )
    const count = 200
    const done = new Map<string, number>()
    let finished: () => void = () => undefined
    const allDone = new Promise<void>((resolve) => (finished = resolve))
    const [slow, ...fast] = workers
    if (!slow) throw new Error('unreachable')
    const taken: unknown[] = []
    for (const worker of fast) {
      work(worker, ({ payload }) => {
        taken.push(payload)
        done.set(worker.id, (done.get(worker.id) ?? 0) + 1)
        if (taken.length === count - 1) finished()
      })
    }
    await sendAll(alice, NLP, numbers(count))
    const held = await slow.next('message')
    await allDone
    expect(new Set([...taken, held.payload]).size).toBe(count)
    expect(done.size).toBe(9)
    expect(slow.waitingOf('message')).toEqual([])
    await Promise.all(workers.map((worker) => worker.cut()))
  })

  test('holds at most queueMax messages, those being worked on included: inbox_full beyond, nothing is lost', async () => {
    await using mesh = await startSpan(core, hubs, { queueMax: 3 })
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.far, 'bob')
    await sendAll(alice, NLP, ['a', 'b', 'c'])
    const error = await alice.refusal({ type: 'send', to: NLP, messageType: 'query', payload: 'd' })
    expect(error).toMatchObject({ code: 'inbox_full', retryable: true, retryAfterMs: 1000 })
    const a = await bob.next('message')
    ack(bob, a)
    const b = await bob.next('message')
    await send(alice, NLP, 'e')
    ack(bob, b)
    const c = await bob.next('message')
    ack(bob, c)
    expect([a.payload, b.payload, c.payload, ...(await read(bob, 1))]).toEqual(['a', 'b', 'c', 'e'])
  })

  test('gives degraded agents work too, and the sender its own', async () => {
    await using mesh = await startSpan(core, hubs)
    await using bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'update', status: 'degraded', statusReason: 'hot' })
    expect((await send(bob, NLP, 'own')).recipients).toBe(1)
    expect(await read(bob, 1)).toEqual(['own'])
  })

  test('pushes a transient message to one connected agent with the capability and keeps none', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', asker)
    const transient = { durability: 'transient' }
    expect((await send(alice, NLP, 'nobody', transient)).recipients).toBe(0)
    expect(await sendRefused(alice, NLP, 'nobody', { ...transient, ifNone: 'fail' })).toBe('no_capable_agent')
    await using one = await join(mesh.near, 'one')
    await using two = await join(mesh.far, 'two')
    await seen(mesh.near, 'two')
    expect((await send(alice, NLP, 'now', transient)).recipients).toBe(1)
    const message = await nextOf(one, two)
    expect(message).toMatchObject({ payload: 'now', transient: true, via: 'queue', capability: 'nlp' })
    expect([...(await pushed(alice, one)), ...(await pushed(alice, two))]).toEqual([])
  })
})
