import { describe, expect, it } from 'vitest'
import { OPEN } from '../../src/auth/authenticator.ts'
import { authenticateHeader, tokenOf } from '../../src/auth/credentials.ts'

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

describe('the token of an Authorization header', () => {
  it.each([
    [undefined, null],
    ['Bearer abc.def-ghi_~+/=', 'abc.def-ghi_~+/='],
    ['bearer  abc', 'abc'],
    [basic('abc:'), 'abc'],
    [basic('abc'), 'abc'],
    ['bAsIc YWJjOg==', 'abc'],
  ])('%j is %j', (header, token) => {
    expect(tokenOf(header)).toBe(token)
  })

  it.each([
    '',
    'Bearer',
    'Bearer ',
    'abc',
    'Digest abc',
    'Bearer a b',
    basic(':abc'),
    basic('abc:secret'),
    basic(''),
    `Bearer ${'x'.repeat(40_000)}`,
  ])('%j has none that can be read', (header) => {
    expect(() => tokenOf(header)).toThrow(expect.objectContaining({ code: 'unauthorized' }) as Error)
  })

  it('is not looked at while authentication is off', async () => {
    expect((await authenticateHeader(OPEN, 'whatever')).subject).toBe(null)
  })
})
