import { describe, expect, it } from 'vitest'
import { SourceLimits } from '../../src/mxp/source-limits.ts'

/** Questions of one address that are answered at once. */
function answeredAtOnce(limits: SourceLimits, address: string, now: number): number {
  let count = 0
  while (count < 1_000 && limits.waitFor(address, now) === 0) count++
  return count
}

describe('what is answered to one source of datagrams', () => {
  it('is counted for a /64 of IPv6, and for each address of IPv4, however it came', () => {
    const limits = new SourceLimits(5)
    expect(answeredAtOnce(limits, '2001:db8::1', 0)).toBe(10)
    expect(limits.waitFor('2001:db8:0:0:ffff::2', 0)).toBeGreaterThan(0)
    expect(limits.waitFor('2001:db8::3%eth0', 0)).toBeGreaterThan(0)
    expect(limits.waitFor('2001:db8:0:1::1', 0)).toBe(0)
    expect(answeredAtOnce(limits, '192.0.2.1', 0)).toBe(10)
    expect(limits.waitFor('::ffff:192.0.2.1', 0)).toBeGreaterThan(0)
    expect(limits.waitFor('::ffff:192.0.2.2', 0)).toBe(0)
  })

  it('stays counted, whoever else comes: newcomers share one bucket when there is no room for them', () => {
    const limits = new SourceLimits(5, 100)
    expect(answeredAtOnce(limits, 'victim', 0)).toBe(10)
    limits.sent('victim', 16_384)
    // The others of the first hundred have a bucket each, and what comes beyond has ten answers together.
    let answered = 0
    for (let i = 0; i < 10_000; i++) if (limits.waitFor(`forged-${i}`, 0) === 0) answered++
    expect(answered).toBe(99 + 10)
    expect(limits.waitFor('victim', 0)).not.toBe(0)
    limits.sent('forged-9999', 16_384)
    expect(limits.waitFor('forged-5000', 100)).not.toBe(0)
  })

  it('is forgotten where that changes nothing, and makes room', () => {
    const limits = new SourceLimits(5, 100)
    for (let i = 0; i < 100; i++) expect(limits.waitFor(`early-${i}`, 0)).toBe(0)
    expect(answeredAtOnce(limits, 'late', 300)).toBe(10)
    for (let i = 0; i < 99; i++) expect(limits.waitFor(`later-${i}`, 300)).toBe(0)
    expect(limits.waitFor('late', 300)).toBeGreaterThan(0)
  })
})
