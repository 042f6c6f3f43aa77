import { describe, expect, it } from 'vitest'
import { RateLimit } from '../../src/hub/rate-limit.ts'
import { RateTable } from '../../src/hub/rate-table.ts'

describe('a bucket that many share', () => {
  it('lets them through one after the other, in the order they asked', () => {
    const rate = new RateLimit(10, 2, 0)
    expect([0, 0, 0, 0].map((now) => rate.reserve(now))).toEqual([0, 0, 100, 200])
    expect(rate.reserve(250)).toBe(50)
    expect(rate.reserve(1_000)).toBe(0)
  })

  it('promises each of those refused another time to come back at, at its rate and within five minutes', () => {
    const rate = new RateLimit(10, 1, 0)
    rate.take(0)
    expect([rate.promise(0), rate.promise(0), rate.promise(50)]).toEqual([100, 200, 250])
    expect(rate.promise(10_000)).toBe(100)
    for (let i = 0; i < 10_000; i++) rate.promise(10_000)
    expect(rate.promise(10_000)).toBe(300_000)
  })
})

describe('a table of buckets', () => {
  it('has one for each key', () => {
    const table = new RateTable(10, 1)
    expect([table.take('a', 0), table.take('b', 0)]).toEqual([0, 0])
    expect([table.take('a', 0), table.reserve('b', 0)]).toEqual([100, 100])
  })

  it('forgets those that are full again, and no others', () => {
    const table = new RateTable(10, 5)
    for (let i = 0; i < 5; i++) table.take('a', 1_000)
    table.take('b', 1_000)
    for (let now = 1_000; now < 5_000; now += 100) {
      expect(table.take('a', now), `at ${now}`).toBe(now === 1_000 ? 100 : 0)
    }
    expect(table.size).toBe(1)
    table.take('c', 60_000)
    expect(table.size).toBe(1)
  })

  it('keeps at most two generations of keys, whoever comes', () => {
    const table = new RateTable(1, 1_000, 100)
    for (let i = 0; i < 10_000; i++) table.take(`k${i}`, 0)
    expect(table.size).toBeLessThanOrEqual(200)
  })

  it('of rate 0 limits nothing and keeps nothing', () => {
    const table = new RateTable(0, 1)
    for (let i = 0; i < 1_000; i++) expect(table.take('a', 0) + table.reserve('a', 0)).toBe(0)
    expect(table.size).toBe(0)
  })
})
