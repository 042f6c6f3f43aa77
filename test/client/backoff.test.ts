import { describe, expect, it } from 'vitest'
import { reconnectDelay, retryDelay, wakeDelay } from '../../client/backoff.ts'

describe('delays before the next try', () => {
  it('the first try after a good connection comes within a second', () => {
    expect(reconnectDelay(1, 0)).toBe(0)
    expect(reconnectDelay(1, 1)).toBe(1000)
  })

  it('later tries wait a quarter of a second and a random part that doubles up to 15 s', () => {
    expect([2, 3, 4, 5, 6, 50].map((attempt) => reconnectDelay(attempt, 1))).toEqual([
      2250, 4250, 8250, 15_250, 15_250, 15_250,
    ])
    expect(reconnectDelay(9, 0)).toBe(250)
  })

  it('a machine that wakes up tries within a second', () => {
    expect([wakeDelay(0), wakeDelay(1)]).toEqual([0, 1000])
  })

  it('the same hub is asked again after at most 5 s', () => {
    expect([1, 2, 3, 20].map((attempt) => retryDelay(attempt, 1))).toEqual([200, 400, 800, 5000])
    expect(retryDelay(1, 0)).toBe(100)
  })
})
