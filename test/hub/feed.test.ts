import { describe, expect, test } from 'vitest'
import { Feed } from '../../src/hub/feed.ts'

interface Item {
  readonly number: number
}

/** A source whose readings wait until they are answered, and a feed of it. */
function openFeed(room = 1_000): {
  readonly feed: Feed<Item>
  readonly taken: number[]
  /** Of each reading: after which number, how many. */
  readonly asked: [after: number, limit: number][]
  room: number
  wentBack: number
  /** Answers the reading under way from a store with these numbers, of which `head` was the last one given. */
  answer(numbers: readonly number[], head: number): Promise<void>
} {
  let resolve: ((found: { entries: Item[]; head: number }) => void) | null = null
  const taken: number[] = []
  const asked: [number, number][] = []
  const state = {
    taken,
    asked,
    room,
    wentBack: 0,
    async answer(numbers: readonly number[], head: number): Promise<void> {
      const [after = 0, limit = 0] = asked.at(-1) ?? []
      const found = numbers.filter((number) => number > after).slice(0, limit)
      const answered = resolve
      resolve = null
      if (!answered) throw new Error('nothing is read')
      answered({ entries: found.map((number) => ({ number })), head })
      await Promise.resolve()
    },
  }
  const feed = new Feed<Item>(
    {
      read: (after, limit) => {
        asked.push([after, limit])
        return new Promise((done) => (resolve = done))
      },
      take: ({ number }) => {
        taken.push(number)
        state.room--
      },
      room: () => state.room,
      wentBack: () => (state.wentBack += 1),
    },
    0,
  )
  return Object.assign(state, { feed })
}

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe('a feed that is to ask the store for lost signals', () => {
  test('asks when there is room, where there was none before', () => {
    const one = openFeed(0)
    void one.feed.pull(true)
    expect(one.asked).toEqual([])
    expect(one.feed.waiting).toBe(true)
    one.room = 1
    void one.feed.pull()
    expect(one.asked).toHaveLength(1)
  })

  test('asks again after a reading that had begun before', async () => {
    const one = openFeed()
    void one.feed.pull(true)
    void one.feed.pull(true)
    expect(one.asked).toHaveLength(1)
    await one.answer([], 0)
    expect(one.asked).toHaveLength(2)
    await one.answer([1], 1)
    expect(one.taken).toEqual([1])
    expect(one.asked).toHaveLength(2)
    expect(one.feed.waiting).toBe(false)
  })
})

test('a feed does not ask again and again for a number that the store does not have', async () => {
  const one = openFeed()
  one.feed.offer(5, null)
  await one.answer([], 0)
  expect(one.asked).toHaveLength(1)
  expect(one.feed.waiting).toBe(false)
})

test('a feed asks again for a number that it heard of while it read', async () => {
  const one = openFeed()
  one.feed.offer(2, null)
  one.feed.offer(3, null)
  await one.answer([1, 2], 2)
  expect(one.asked).toHaveLength(2)
  await one.answer([1, 2, 3], 3)
  expect(one.taken).toEqual([1, 2, 3])
})

test('a feed tells when the store has given fewer numbers than were taken', async () => {
  const one = openFeed()
  void one.feed.pull(true)
  await one.answer([1, 2, 3], 3)
  void one.feed.pull(true)
  await one.answer([1], 1)
  expect(one.taken).toEqual([1, 2, 3])
  expect(one.wentBack).toBe(1)
})

test('a feed reads few entries at first, more while there is room for all, and few again where there was not', async () => {
  const one = openFeed()
  void one.feed.pull(true)
  const [, first = 0] = one.asked[0] ?? []
  expect(first).toBeLessThanOrEqual(16)
  while (one.taken.length < 600) await one.answer(numbers(1, 1_000), 1_000)
  const most = Math.max(...one.asked.map(([, limit]) => limit))
  expect(most).toBeGreaterThan(first)
  // Room for three, whatever was read: what waits for the socket ended it.
  const before = one.taken.length
  one.room = 3
  await one.answer(numbers(1, 1_000), 1_000)
  expect(one.taken).toHaveLength(before + 3)
  one.room = 1_000
  void one.feed.pull()
  expect(one.asked.at(-1)).toEqual([before + 3, 3])
  expect(one.taken).toEqual(numbers(1, before + 3))
})
