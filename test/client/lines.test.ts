import { describe, expect, it } from 'vitest'
import { createLines } from '../../client/lines.ts'

describe('lines', () => {
  it('give out one item of a line at a time, in order', () => {
    const lines = createLines<number>()
    for (const n of [1, 2, 3]) lines.add('a', n)
    expect(lines.take()).toEqual({ key: 'a', item: 1 })
    expect(lines.take()).toBeUndefined()
    lines.done('a')
    expect(lines.take()).toEqual({ key: 'a', item: 2 })
  })

  it('serve other lines while one is busy, in turn', () => {
    const lines = createLines<number>()
    for (const n of [1, 2]) lines.add('a', n)
    for (const n of [10, 20]) lines.add('b', n)
    const taken = [lines.take(), lines.take()]
    expect(taken.map((next) => next?.item)).toEqual([1, 10])
    lines.done('b')
    lines.done('a')
    expect([lines.take()?.item, lines.take()?.item]).toEqual([20, 2])
  })

  it('count what waits and give it all back', () => {
    const lines = createLines<number>()
    lines.add('a', 1)
    lines.add('a', 2)
    lines.add('b', 3)
    lines.take()
    expect(lines.waiting).toBe(2)
    expect(lines.clear()).toEqual([2, 3])
    expect([lines.waiting, lines.take()]).toEqual([0, undefined])
    lines.done('a')
    lines.add('a', 4)
    expect(lines.take()?.item).toBe(4)
  })
})
