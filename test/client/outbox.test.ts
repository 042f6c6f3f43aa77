import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { seal } from '../../client/envelope.ts'
import type { SealOptions } from '../../client/envelope.ts'
import { outboxOn } from '../../client/outbox.ts'
import type { Incident } from '../../client/status.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { SendResult } from '../../protocol/replies.ts'
import { MemoryStore } from '../support/memory-store.ts'

interface SendFrame {
  readonly ref: number
  readonly seq: number
  readonly payload: unknown
  readonly ttlMs?: number
  readonly durability?: string
}

const isFiller = ({ durability, payload }: SendFrame): boolean =>
  durability === 'transient' && payload === null

/** A hub's memory of one agent: what it has counted of each producer, as PROTOCOL.md section 4 says. */
class Memory {
  readonly stored: unknown[] = []
  readonly #last = new Map<string, number>()
  readonly #ids = new Set<string>()

  /** The answer to a frame, and what it changes. */
  take(producer: string, { seq, payload, durability }: SendFrame): SendResult | ErrorCode {
    const last = this.#last.get(producer) ?? 0
    const id = `${producer}-${seq}`
    if (seq > last + 1) return 'bad_frame'
    if (seq <= last - 1024) return 'seq_too_old'
    if (seq <= last) return { id, recipients: 1, ...(this.#ids.has(id) ? { duplicate: true } : {}) }
    this.#last.set(producer, seq)
    this.#ids.add(id)
    if (durability !== 'transient') this.stored.push(payload)
    return { id, recipients: 1 }
  }

  copy(): Memory {
    const copy = new Memory()
    copy.stored.push(...this.stored)
    for (const [producer, last] of this.#last) copy.#last.set(producer, last)
    for (const id of this.#ids) copy.#ids.add(id)
    return copy
  }
}

/** Lets microtasks run. */
const turn = async (): Promise<void> => {
  for (let n = 0; n < 20; n++) await Promise.resolve()
}

/** One client's life with an outbox, without a network. */
async function begin(store: MemoryStore, memory = new Memory(), limits = { maxSends: 20_000 }) {
  const outbox = outboxOn(store)
  await outbox.open(null, 'alice')
  const sent: SendFrame[] = []
  const events: Incident[] = []
  const renew = vi.fn<() => void>()
  const queue = outbox.outgoing(
    {
      write: (line) => sent.push(JSON.parse(line) as SendFrame),
      renew,
      emit: (incident) => events.push(incident),
    },
    { ...limits, maxBytes: 1_000_000 },
  )
  let producer = ''
  return {
    outbox,
    queue,
    sent,
    events,
    renew,
    memory,
    send(payload: unknown, options: SealOptions = {}): Promise<SendResult> {
      const { tail, bytes } = seal({ agent: 'bob' }, payload, options, 1_000_000)
      const result = queue.add(tail, bytes, { agent: 'bob' }, options)
      result.catch(() => undefined)
      return result
    },
    /** A session; `resumed` false: the hub had forgotten the agent. Answers how many `hello`s it took. */
    connect(resumed = true): number {
      producer = queue.greet()
      if (queue.accepts(resumed)) {
        queue.resume()
        return 1
      }
      producer = queue.greet()
      queue.accepts(true)
      queue.resume()
      return 2
    },
    /** The hub takes what was written, and answers if told so. */
    deliver({ answer = true, count = Infinity } = {}): void {
      for (const frame of sent.splice(0, count)) {
        const outcome = memory.take(producer, frame)
        if (!answer) continue
        if (typeof outcome === 'string') {
          const error = { code: outcome, message: outcome, retryable: false, retryAfterMs: null }
          queue.answered({ type: 'error', ref: frame.ref, error })
        } else queue.answered({ type: 'ok', ref: frame.ref, result: outcome })
      }
    },
    /** What is written and not delivered, without fillers. */
    written: () => sent.filter((frame) => !isFiller(frame)).map(({ payload }) => payload),
    fillers: () => sent.filter(isFiller).length,
    get producer() {
      return queue.greet()
    },
  }
}

describe('sends in an outbox', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('are stored before they are written to the socket, those of a turn together', async () => {
    const store = new MemoryStore()
    store.quick = false
    const { send, connect, sent, written } = await begin(store)
    connect()
    const first = send('a')
    void send('b')
    await turn()
    expect([sent.length, store.writes]).toEqual([0, 1])
    void send('c')
    store.store()
    await turn()
    expect([written(), store.writes]).toEqual([['a', 'b'], 2])
    store.store()
    await turn()
    expect(written()).toEqual(['a', 'b', 'c'])
    expect(await Promise.race([first, Promise.resolve('no answer')])).toBe('no answer')
  })

  it('are removed when their answer came', async () => {
    const store = new MemoryStore()
    const { send, connect, deliver } = await begin(store)
    connect()
    const sends = [send('a'), send('b')]
    await turn()
    expect(store.values.size).toBe(3)
    deliver()
    await Promise.all(sends)
    await vi.advanceTimersByTimeAsync(100)
    expect([...store.values.keys()]).toEqual([0])
  })

  it('without an answer are sent again by the next client, same producer, same seq, in order, before its own', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    for (const payload of ['a', 'b', 'c']) void before.send(payload)
    await turn()
    const [a, ...open] = before.sent.map(({ seq, payload }) => `${seq}:${String(payload)}`)
    const { producer } = before
    before.deliver({ count: 1 })
    await vi.advanceTimersByTimeAsync(100)

    const after = await begin(store.copy(), before.memory)
    void after.send('d')
    await turn()
    expect([a, after.producer]).toEqual(['1:a', producer])
    after.connect()
    expect(after.sent.map(({ seq, payload }) => `${seq}:${String(payload)}`).slice(0, 2)).toEqual(open)
    expect(after.written()).toEqual(['b', 'c', 'd'])
    after.deliver()
    expect(after.memory.stored).toEqual(['a', 'b', 'c', 'd'])
  })

  it('that the hub had stored are stored once, wherever between storing and removal the client ended', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    void before.send('stored')
    void before.send('answered')
    void before.send('removed')
    await turn()
    before.deliver({ count: 1, answer: false })
    before.deliver()
    const early = store.copy()
    await vi.advanceTimersByTimeAsync(100)
    for (const left of [early, store.copy()]) {
      const after = await begin(left, before.memory.copy())
      after.connect()
      after.deliver()
      void after.send('next')
      await turn()
      after.deliver()
      expect(after.memory.stored).toEqual(['stored', 'answered', 'removed', 'next'])
    }
  })

  it('that an earlier client left are told as status events, with target and type', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    void before.send('fine', { type: 'task_result' })
    void before.send('refused')
    await turn()
    const after = await begin(store.copy())
    after.connect()
    const [fine, refused] = after.sent.splice(0) as [SendFrame, SendFrame]
    const result = { id: 'm1', recipients: 1 }
    after.queue.answered({ type: 'ok', ref: fine.ref, result })
    const error = { code: 'inbox_full', message: 'full', retryable: true, retryAfterMs: null } as const
    after.queue.answered({ type: 'error', ref: refused.ref, error })
    expect(after.events).toEqual([
      { type: 'outbox_sent', to: { agent: 'bob' }, messageType: 'task_result', result },
      {
        type: 'send_failed',
        to: { agent: 'bob' },
        messageType: 'notification',
        error: expect.objectContaining({ code: 'inbox_full' }) as unknown,
      },
    ])
  })

  it('leave no gap where what is not kept is gone: queries and transient messages', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    void before.send('a')
    void before.send('query', { fleeting: true })
    void before.send('transient', { durability: 'transient' })
    void before.send('b')
    await turn()
    expect(before.written()).toEqual(['a', 'query', 'transient', 'b'])
    for (const delivered of [0, 1, 2, 3, 4]) {
      const memory = new Memory()
      const was = before.producer
      for (const frame of before.sent.slice(0, delivered)) memory.take(was, frame)
      const after = await begin(store.copy(), memory)
      void after.send('c')
      await turn()
      after.connect()
      after.deliver()
      const stored = delivered >= 2 ? ['a', 'query', 'b', 'c'] : ['a', 'b', 'c']
      expect(memory.stored, `${delivered} were delivered`).toEqual(stored)
    }
  })

  it('never take a number that a message which was not kept had', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    void before.send('a')
    await turn()
    for (let n = 0; n < 300; n++) void before.send(`query ${n}`, { fleeting: true })
    await turn()
    before.deliver({ answer: false })
    await turn()
    before.deliver({ answer: false })
    const after = await begin(store.copy(), before.memory)
    after.connect()
    for (let n = 0; n < 3; n++) {
      void after.send(`own ${n}`)
      await turn()
      after.deliver()
    }
    expect(before.memory.stored).toHaveLength(304)
    expect(after.memory.stored.slice(-3)).toEqual(['own 0', 'own 1', 'own 2'])
  })

  it('wait while the store does not know yet that the 1,024th before was answered: its seq would be too old', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    for (let n = 0; n < 1500; n++) void before.send(n)
    await turn()
    store.quick = false
    before.connect()
    expect(before.written()).toHaveLength(1024)
    before.deliver()
    await turn()
    before.deliver()
    const after = await begin(store.copy(), before.memory)
    after.connect()
    for (let n = 0; n < 3; n++) {
      after.deliver()
      await turn()
    }
    expect(after.renew).not.toHaveBeenCalled()
    expect(after.memory.stored).toEqual([...Array(1500).keys()])
  })

  it('go on without the store when nothing is kept: queries need no write', async () => {
    const store = new MemoryStore()
    const { send, connect, deliver, written } = await begin(store)
    connect()
    for (let n = 0; n < 500; n++) void send(n, { fleeting: true })
    expect(written()).toHaveLength(500)
    deliver()
    await turn()
    expect(store.writes).toBe(0)
  })

  it('count the time away in their ttl, and are not sent when it is over', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    void before.send({ ttlMs: 60_000 }, { ttlMs: 60_000, correlationId: '"ttlMs":60000', ifNone: 'keep' })
    void before.send('short', { ttlMs: 1000 })
    await turn()
    vi.advanceTimersByTime(20_000)
    const after = await begin(store.copy())
    after.connect()
    expect(after.sent[0]).toMatchObject({
      payload: { ttlMs: 60_000 },
      ttlMs: 40_000,
      correlationId: '"ttlMs":60000',
    })
    after.deliver()
    expect(after.memory.stored).toEqual([{ ttlMs: 60_000 }])
    expect(after.events).toMatchObject([
      { type: 'outbox_sent' },
      { type: 'send_failed', error: { name: 'TimeoutError' } },
    ])
  })

  it('that had been stored before their ttl was over are told as sent', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    void before.send('short', { ttlMs: 1000 })
    await turn()
    before.deliver({ answer: false })
    vi.advanceTimersByTime(20_000)
    const after = await begin(store.copy(), before.memory)
    after.connect()
    after.deliver()
    expect(after.events).toMatchObject([{ type: 'outbox_sent', result: { duplicate: true } }])
  })

  it('taken back before they were written are gone for the next client too, without a gap', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    const abort = new AbortController()
    void before.send('a')
    const taken = before.send('b', { signal: abort.signal })
    void before.send('c')
    await turn()
    abort.abort()
    await expect(taken).rejects.toMatchObject({ name: 'AbortError' })
    await vi.advanceTimersByTimeAsync(100)
    const after = await begin(store.copy())
    for (const client of [before, after]) {
      client.connect()
      expect(client.written()).toEqual(['a', 'c'])
      client.deliver()
      expect(client.memory.stored).toEqual(['a', 'c'])
    }
  })

  it('that the store cannot take are rejected, nothing of them is kept, and the next ones go on', async () => {
    const store = new MemoryStore()
    const client = await begin(store)
    client.connect()
    void client.send('a')
    await turn()
    store.failure = new Error('no space left')
    const refused = [client.send('b'), client.send('c')]
    await turn()
    for (const send of refused) {
      await expect(send).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
      await expect(send).rejects.toThrow('the outbox cannot keep the send, so it was not sent: no space left')
    }
    store.failure = null
    void client.send('d')
    await turn()
    expect(client.written()).toEqual(['a', 'd'])
    client.deliver()
    expect(client.memory.stored).toEqual(['a', 'd'])
    await vi.advanceTimersByTimeAsync(2000)
    expect([...store.values.keys()]).toEqual([0])
  })

  it('that are answered while the store fails are removed when it is back', async () => {
    const store = new MemoryStore()
    const client = await begin(store)
    client.connect()
    const send = client.send('a')
    await turn()
    store.failure = new Error('no space left')
    client.deliver()
    await send
    await vi.advanceTimersByTimeAsync(5000)
    expect(store.writes).toBeLessThan(10)
    expect(store.values.size).toBe(2)
    store.failure = null
    await vi.advanceTimersByTimeAsync(1100)
    expect([...store.values.keys()]).toEqual([0])
  })

  it('are numbered anew where the hub has forgotten the agent, in the store first', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    for (const payload of ['a', 'b', 'c']) void before.send(payload)
    await turn()
    before.deliver({ count: 1 })
    await vi.advanceTimersByTimeAsync(100)
    const left = store.copy()
    left.quick = false
    const after = await begin(left, new Memory())
    expect(after.connect(false)).toBe(2)
    await turn()
    expect([after.sent.length, after.producer === before.producer]).toEqual([0, false])
    left.store()
    await turn()
    expect(after.sent.map(({ seq, payload }) => `${seq}:${String(payload)}`)).toEqual(['1:b', '2:c'])
    after.deliver({ count: 1, answer: false })
    const last = await begin(left.copy(), after.memory)
    last.connect()
    last.deliver()
    expect(last.memory.stored).toEqual(['b', 'c'])
  })

  it('are numbered anew where the hub has forgotten only the producer', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    for (const payload of ['a', 'b', 'c']) void before.send(payload)
    await turn()
    before.deliver({ count: 1 })
    await vi.advanceTimersByTimeAsync(100)
    const after = await begin(store.copy(), new Memory())
    after.connect()
    after.deliver()
    expect(after.renew).toHaveBeenCalled()
    after.sent.splice(0)
    after.connect()
    await turn()
    after.deliver()
    expect(after.memory.stored).toEqual(['b', 'c'])
  })

  it('in any number, sent and lost at any point, are stored once and in order', async () => {
    const memory = new Memory()
    let store = new MemoryStore()
    let next = 0
    /** What a client that ended had in its store, or an answer to. */
    const kept = new Set<number>()
    let seed = 7
    const dice = (sides: number): number => (seed = (seed * 48_271) % 2_147_483_647) % sides
    const told: unknown[] = []
    for (let life = 0; life < 60; life++) {
      const client = await begin(store, memory)
      for (let step = dice(12); step >= 0; step--) {
        store.quick = dice(3) > 0
        if (dice(2) === 0) store.store()
        switch (dice(4)) {
          case 0:
            for (let n = dice(300); n > 0; n--) {
              const number = next++
              client.send(number).then(
                () => kept.add(number),
                () => undefined,
              )
            }
            break
          case 1:
            for (let n = dice(100); n > 0; n--) void client.send('query', { fleeting: true })
            break
          case 2:
            client.queue.lost()
            client.sent.splice(0)
            client.connect()
            break
          default:
            client.deliver({ count: dice(2000), answer: dice(5) > 0 })
        }
        if (dice(2) === 0) await turn()
        if (dice(4) === 0) await vi.advanceTimersByTimeAsync(60)
      }
      expect(client.renew).not.toHaveBeenCalled()
      told.push(...client.events)
      store = store.copy()
      for (const value of store.values.values()) {
        const tail = (value as { tail?: string }).tail
        if (tail !== undefined) kept.add(Number(/"payload":(\d+)/.exec(tail)?.[1]))
      }
    }
    const last = await begin(store, memory)
    last.connect()
    while (last.sent.length > 0) {
      last.deliver()
      await vi.advanceTimersByTimeAsync(60)
    }
    const numbers = memory.stored.filter((payload) => typeof payload === 'number')
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
    expect([...kept].filter((number) => !numbers.includes(number))).toEqual([])
    expect([kept.size > 1000, told.length > 300]).toEqual([true, true])
  })

  it('beyond maxOutgoing are refused, those of an earlier client counted', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    for (let n = 0; n < 3; n++) void before.send(n)
    await turn()
    const after = await begin(store.copy(), new Memory(), { maxSends: 4 })
    void after.send(3)
    await expect(after.send(4)).rejects.toMatchObject({ name: 'QuotaExceededError' })
    after.connect()
    await turn()
    expect(after.written()).toEqual([0, 1, 2, 3])
  })

  it('are all written that were taken, when the client ends, and its promises rejected', async () => {
    const store = new MemoryStore()
    const before = await begin(store)
    before.connect()
    const send = before.send('a')
    before.queue.fail(new DOMException('the client is closed', 'AbortError'))
    await before.outbox.close()
    await expect(send).rejects.toMatchObject({ name: 'AbortError' })
    expect([store.closed, vi.getTimerCount(), before.events]).toEqual([true, 0, []])
    const after = await begin(store.copy())
    after.connect()
    expect(after.written()).toEqual(['a'])
  })
})

describe('an outbox', () => {
  it('belongs to one agent of one namespace', async () => {
    const store = new MemoryStore()
    const outbox = outboxOn(store)
    await expect(outbox.open(null, null)).rejects.toMatchObject({ code: 'invalid_agent' })
    const { send } = await begin(store)
    void send('a')
    await turn()
    for (const [namespace, id] of [
      ['default', 'bob'],
      ['other', 'alice'],
    ] as const) {
      const open = outboxOn(store).open(namespace, id)
      await expect(open).rejects.toMatchObject({ code: 'invalid_agent' })
      await expect(open).rejects.toThrow(
        `the outbox keeps 1 sends of agent "alice" in namespace "default", not of "${id}" in "${namespace}"; give each agent an outbox of its own`,
      )
    }
    expect(store.closed).toBe(true)
  })

  it('of another version is refused, not misread', async () => {
    const store = new MemoryStore()
    store.values.set(0, { version: 2 }).set(1, {})
    await expect(outboxOn(store).open(null, 'alice')).rejects.toThrow('written by another version')
  })
})
