import { expect, test } from 'vitest'
import { peakIn, runStorm } from './storm.ts'

test('the most in a span is counted over every span, wherever it begins', () => {
  expect(peakIn([0, 90, 99, 101, 189, 300], 100)).toBe(4)
  expect(peakIn([], 100)).toBe(0)
})

// `npm run storm` does the same with 5,000.
test(
  'a thousand clients whose hub restarts come back spread out, all of them, while others are served',
  { timeout: 90_000 },
  async () => {
    const clients = 1_000
    const handshakesPerSecond = 120
    const withinMs = 60_000
    const result = await runStorm({ clients, handshakesPerSecond, probes: 5, withinMs })
    expect(result.starved).toBe(0)
    expect(result.peakShare).toBeLessThan(0.02)
    // More came at once than it takes, and those that were sent away came back in time.
    expect(result.busy).toBeGreaterThan(0)
    expect(result.backMs.max).toBeLessThan(3 * (clients / handshakesPerSecond) * 1_000 + 10_000)
    expect(result.answerMs.count).toBeGreaterThan(100)
    expect(result.answerMs.p99).toBeLessThan(1_000)
  },
)
