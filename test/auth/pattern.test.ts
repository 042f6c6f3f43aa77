import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePattern } from '../../src/auth/pattern.ts'

/** What a pattern means, told slowly: every way to fill the stars is tried, each place once. */
function matchesSlowly(pattern: string, value: string): boolean {
  let ends = new Set([0])
  for (const character of pattern) {
    const next = new Set<number>()
    for (const at of ends) {
      if (character === '*') for (let to = at; to <= value.length; to++) next.add(to)
      else if (value[at] === character) next.add(at + 1)
    }
    ends = next
  }
  return ends.has(value.length)
}

const few = fc.constantFrom('a', 'b', ':', '*', '.')
const pattern = fc.string({ unit: few, minLength: 1, maxLength: 12 })
const value = fc.string({ unit: fc.constantFrom('a', 'b', ':', '.'), maxLength: 12 })

describe('a pattern', () => {
  it('matches what filling its stars can make, and nothing else', () => {
    fc.assert(
      fc.property(pattern, value, (text, one) => {
        expect(compilePattern(text)(one)).toBe(matchesSlowly(text, one))
      }),
      { numRuns: 5_000 },
    )
  })

  it.each(['.*', '[a-z]*', '(a|b)', '^a', 'a$', '\\d*', 'a+', '?'])('%j is no regular expression', (text) => {
    const matches = compilePattern(text)
    expect(matches(text)).toBe(true)
    expect(matches('a')).toBe(text === 'a')
  })

  it('without a star matches only itself', () => {
    fc.assert(
      fc.property(
        value.filter((one) => one !== ''),
        value,
        (text, one) => {
          expect(compilePattern(text)(one)).toBe(text === one)
        },
      ),
    )
  })

  it('takes no longer for what was made to make it slow', () => {
    const matches = compilePattern(`${'*a'.repeat(127)}*b`)
    const text = 'a'.repeat(100_000)
    const before = performance.now()
    for (let i = 0; i < 100; i++) expect(matches(text)).toBe(false)
    expect(performance.now() - before).toBeLessThan(1_000)
  })

  it.each(['', 'x'.repeat(257)])('has 1 to 256 characters, so %j is none', (text) => {
    expect(() => compilePattern(text)).toThrow(RangeError)
  })
})
