import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ClaimError, toPrincipal } from '../../src/auth/claims.ts'
import { TokenFileError, parseTokens } from '../../src/auth/token-file.ts'

/** What an error is where `run` throws one that is not of `expected`: nothing else may come of what others wrote. */
function onlyThrows(expected: new () => Error, run: () => unknown): void {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(expected)
  }
}

const wild = fc.anything({ withNullPrototype: true, maxDepth: 3 })
const json = fc.jsonValue({ maxDepth: 3 })

describe('claims', () => {
  it('that are anything at all make a principal or are refused as claims', () => {
    const sub = fc.oneof(fc.constant('bot'), wild)
    fc.assert(
      fc.property(sub, wild, wild, wild, (one, ns, mesh, exp) => {
        onlyThrows(ClaimError, () => toPrincipal({ sub: one, ns, mesh, exp }, null))
      }),
      { numRuns: 2_000 },
    )
  })

  it('by names that objects have themselves are no verbs', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const mesh = JSON.parse(`{"${name}":true}`) as unknown
      expect(() => toPrincipal({ sub: 'bot', ns: null, mesh, exp: null }, null), name).toThrow(ClaimError)
    }
  })

  it('of a file are a list of tokens or refused as a file', () => {
    const entry = fc.record({
      token: fc.string({ minLength: 16 }),
      sub: json,
      permissions: json,
      namespaces: json,
    })
    fc.assert(
      fc.property(fc.oneof(json, fc.array(json), fc.array(entry)), (value) => {
        onlyThrows(TokenFileError, () => parseTokens(JSON.stringify(value)))
      }),
      { numRuns: 2_000 },
    )
  })
})
