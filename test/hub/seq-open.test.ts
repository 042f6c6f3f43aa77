import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import type { Core } from '../../src/server.ts'
import { CORES, startMesh } from '../support/hubs.ts'
import { join, pushed, read, send, sendFrame, sendRefused, startSpan } from '../support/talk.ts'
import { joinSender, sendSeries } from '../support/numbered.ts'

/** A core whose `sends` a test holds in its hand. */
class Valve {
  #open: (() => void) | null = null
  #opened: Promise<void> = Promise.resolve()
  #failures = 0
  #calls = 0
  #waiting: { calls: number; resolve: () => void }[] = []

  wrap = (core: Core): Core => ({
    ...core,
    sends: {
      store: async (namespace, batch) => {
        this.#calls += 1
        for (const { calls, resolve } of this.#waiting) if (calls <= this.#calls) resolve()
        const fails = this.#failures > 0
        if (fails) this.#failures -= 1
        await this.#opened
        if (fails) throw new MeshError('store_unavailable', 'the store does not answer')
        return core.sends.store(namespace, batch)
      },
    },
  })

  /** From now on calls wait until `release`. */
  hold(): void {
    this.#calls = 0
    this.#opened = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  release(): void {
    this.#open?.()
  }

  /** The next `calls` do not reach the store. */
  fail(calls: number): void {
    this.#failures = calls
  }

  /** Resolves when so many calls wait. */
  async held(calls: number): Promise<void> {
    if (this.#calls >= calls) return
    await new Promise<void>((resolve) => this.#waiting.push({ calls, resolve }))
  }
}

describe.each(CORES)('sends without an answer, on %s', (core) => {
  test('are at most 1,024: one more is a bad_frame, and may be sent again when there is room', async () => {
    const valve = new Valve()
    await using mesh = await startSpan(core, 1, {}, valve.wrap)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.near, 'bob', { window: 10_000 })
    valve.hold()
    const answers = sendSeries(alice, 'bob', 1, 1024)
    const error = await alice.refusal(sendFrame('bob', 'too many', { seq: 1025 }))
    expect(error).toMatchObject({ code: 'bad_frame', message: expect.stringContaining('1024') })
    valve.release()
    expect(await answers).toHaveLength(1024)
    expect(await send(alice, 'bob', 1025, { seq: 1025 })).not.toHaveProperty('duplicate')
    expect(await read(bob, 1025)).toEqual(Array.from({ length: 1025 }, (_, i) => i + 1))
  })

  test('that the store did not take stay open, greater ones with them, until the first is sent again', async () => {
    const valve = new Valve()
    await using mesh = await startSpan(core, 1, {}, valve.wrap)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.near, 'bob')
    await send(alice, 'bob', 1, { seq: 1 })
    valve.fail(1)
    const error = await alice.refusal(sendFrame('bob', 2, { seq: 2 }))
    expect(error).toMatchObject({ code: 'store_unavailable', retryable: true })
    // The store is back, but 3 must not overtake 2.
    for (let i = 0; i < 2; i++)
      expect(await sendRefused(alice, 'bob', 3, { seq: 3 })).toBe('store_unavailable')
    // Nor may a wrong one be told as ended.
    expect(await sendRefused(alice, {}, 3, { seq: 3 })).toBe('store_unavailable')
    const results = await sendSeries(alice, 'bob', 2, 3)
    for (const result of results) expect(result).not.toHaveProperty('duplicate')
    expect(await pushed(alice, bob)).toEqual([1, 2, 3])
  })

  test('that were on their way behind a lost one are answered like it, not as a gap', async () => {
    const valve = new Valve()
    await using mesh = await startSpan(core, 1, {}, valve.wrap)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.near, 'bob')
    valve.hold()
    valve.fail(1)
    const lost = alice.refusal(sendFrame('bob', 1, { seq: 1 }))
    await valve.held(1)
    // A call of its own, already under way when the first one's failure is known.
    const behind = alice.refusal(sendFrame('bob', 2, { seq: 2 }))
    await valve.held(2)
    valve.release()
    expect((await lost).code).toBe('store_unavailable')
    expect(await behind).toMatchObject({ code: 'store_unavailable', retryable: true })
    await sendSeries(alice, 'bob', 1, 2)
    expect(await pushed(alice, bob)).toEqual([1, 2])
  })

  test('that are without seq leave nothing open', async () => {
    const valve = new Valve()
    await using mesh = await startSpan(core, 1, {}, valve.wrap)
    await using alice = await joinSender(mesh.near)
    await using bob = await join(mesh.near, 'bob')
    valve.fail(1)
    expect(await sendRefused(alice, 'bob', 'lost')).toBe('store_unavailable')
    await send(alice, 'bob', 1, { seq: 1 })
    expect(await pushed(alice, bob)).toEqual([1])
  })
})

test('a seq that was sent twice, failed late once and was stored the other time does not hold up greater ones', async () => {
  let calls = 0
  let fail: () => void = () => undefined
  const wrap = (core: Core): Core => ({
    ...core,
    sends: {
      store: (namespace, batch) => {
        if (++calls > 1) return core.sends.store(namespace, batch)
        return new Promise((_resolve, reject) => {
          fail = () => reject(new MeshError('store_unavailable', 'the store does not answer'))
        })
      },
    },
  })
  await using mesh = await startMesh('memory', 1, {}, wrap)
  await using alice = await join(mesh.hub(0), 'alice', { producer: 'p1' })
  const first = alice.answer(sendFrame('alice', 'one', { seq: 1, ref: 'first' }))
  // The first one is on its way to the store.
  await alice.roundTrip()
  const second = await alice.request(sendFrame('alice', 'one', { seq: 1, ref: 'second' }))
  expect(second).toMatchObject({ recipients: 1 })
  fail()
  expect(await first).toMatchObject({ type: 'error', error: { code: 'store_unavailable' } })
  expect(await send(alice, 'alice', 'two', { seq: 2 })).toMatchObject({ recipients: 1 })
  expect(await read(alice, 2)).toEqual(['one', 'two'])
})
