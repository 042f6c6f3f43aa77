import { describe, expect, it, vi } from 'vitest'
import { createFeed, type Feed } from '../../client/feed.ts'

function numbers(max = 3, onReturn = () => {}): Feed<number> {
  return createFeed<number>(max, onReturn)
}

async function all(feed: Feed<number>): Promise<number[]> {
  const items: number[] = []
  for await (const item of feed) items.push(item)
  return items
}

describe('a feed', () => {
  it('yields what was put in before and after the reader came, in order', async () => {
    const feed = numbers()
    feed.push(1)
    const read = [feed.next(), feed.next(), feed.next()]
    feed.push(2)
    feed.push(3)
    expect((await Promise.all(read)).map(({ value }) => value)).toEqual([1, 2, 3])
  })

  it('keeps at most its bound, the newest', async () => {
    const feed = numbers(3)
    for (let n = 1; n <= 10; n++) feed.push(n)
    feed.end(null)
    expect(await all(feed)).toEqual([8, 9, 10])
  })

  it('lets its owner decide what takes the place of what overflows', async () => {
    const feed = createFeed<number>(
      2,
      () => {},
      (items) => [items.reduce((a, b) => a + b)],
    )
    for (const n of [1, 2, 3, 4]) feed.push(n)
    feed.end(null)
    expect(await all(feed)).toEqual([6, 4])
  })

  it('is done after what waits when it ends, and stays so', async () => {
    const feed = numbers()
    feed.push(1)
    feed.end(null)
    feed.push(2)
    expect(await feed.next()).toEqual({ done: false, value: 1 })
    expect(await feed.next()).toEqual({ done: true, value: undefined })
    expect(await feed.next()).toEqual({ done: true, value: undefined })
  })

  it('throws the error it ended with once, after what waits', async () => {
    const feed = numbers()
    feed.push(1)
    feed.end(new Error('over'))
    expect((await feed.next()).value).toBe(1)
    await expect(feed.next()).rejects.toThrow('over')
    expect(await feed.next()).toEqual({ done: true, value: undefined })
  })

  it('tells its owner when the reader leaves the loop, and drops what waits', async () => {
    const left = vi.fn<() => void>()
    const feed = numbers(3, left)
    feed.push(1)
    feed.push(2)
    for await (const number of feed) {
      expect(number).toBe(1)
      break
    }
    expect(left).toHaveBeenCalledOnce()
    expect((await feed.next()).done).toBe(true)
  })
})
