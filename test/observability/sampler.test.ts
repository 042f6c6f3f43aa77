import { expect, test } from 'vitest'
import { Sampler } from '../../src/observability/sampler.ts'

/** How many of `perSecond` in each of `seconds` are chosen, second by second. */
function chosen(perSecond: number, seconds: number): number[] {
  const sampler = new Sampler()
  return Array.from({ length: seconds }, (_, second) => {
    let count = 0
    for (let i = 0; i < perSecond; i++)
      if (sampler.take(() => 5_000 + (second + i / perSecond) * 1_000)) count++
    return count
  })
}

test('all are measured while they are few', () => {
  expect(chosen(900, 5)).toEqual([900, 900, 900, 900, 900])
})

test('of many about a thousand a second are, from the first second on', () => {
  for (const count of chosen(40_000, 5)) {
    expect(count).toBeGreaterThan(300)
    expect(count).toBeLessThan(5_000)
  }
})

test('all are again when the flood is over', () => {
  const sampler = new Sampler()
  for (let i = 0; i < 100_000; i++) sampler.take(() => 10_000 + i / 100)
  let count = 0
  for (let i = 0; i < 1_000; i++) if (sampler.take(() => 60_000 + i * 100)) count++
  expect(count).toBeGreaterThan(800)
})
