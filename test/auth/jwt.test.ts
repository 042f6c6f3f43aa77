import { createHmac, generateKeyPairSync } from 'node:crypto'
import { exportJWK, exportPKCS8, UnsecuredJWT } from 'jose'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JwtTokens, type JwtOptions } from '../../src/auth/jwt.ts'
import { mayEnter } from '../../src/auth/principal.ts'
import { ALGORITHMS, type Algorithm, publicKeys, secretKeys } from '../../src/auth/signing-keys.ts'
import { keyPair, pemOf, SECRET, signed, tokenFor } from '../support/tokens.ts'

const ASYMMETRIC = (Object.keys(ALGORITHMS) as Algorithm[]).filter((name) => name !== 'HS256')

const bySecret = (more: Partial<JwtOptions> = {}): JwtTokens =>
  new JwtTokens({ keys: secretKeys(SECRET), algorithms: ['HS256'], issuer: null, audience: null, ...more })

const byKey = (text: string, more: Partial<JwtOptions> = {}): JwtTokens =>
  new JwtTokens({ ...publicKeys(text), issuer: null, audience: null, ...more })

function refused(tokens: JwtTokens, token: string) {
  const authenticated = tokens.authenticate(token)
  return {
    toThrow: (text: string) => expect(authenticated).rejects.toThrow(text),
    toMatchObject: (fields: object) => expect(authenticated).rejects.toMatchObject(fields),
  }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('a signed token', () => {
  it('is accepted by the secret it was signed with', async () => {
    const principal = await bySecret().authenticate(await tokenFor('bot', { ns: ['a', 'b-*'] }))
    expect(principal.subject).toBe('bot')
    expect(principal.expiresAt).toBeGreaterThan(Date.now() + 3_590_000)
    expect(['a', 'b-1', 'default'].map((name) => mayEnter(principal, name))).toEqual([true, true, false])
  })

  it.each(ASYMMETRIC)('is accepted by the public key of %s, as PEM and as JWK', async (alg) => {
    const pair = await keyPair(alg)
    const token = await signed(pair.privateKey, { alg, kid: 'k1' })
    expect((await byKey(await pemOf(pair)).authenticate(token)).subject).toBe('bot')
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1' }
    expect((await byKey(JSON.stringify(jwk)).authenticate(token)).subject).toBe('bot')
    expect((await byKey(JSON.stringify({ keys: [jwk] })).authenticate(token)).subject).toBe('bot')
  })

  it('without kid is tried with each key of its kind', async () => {
    const pairs = [await keyPair('ES256'), await keyPair('ES256')]
    const keys = await Promise.all(pairs.map(({ publicKey }) => exportJWK(publicKey)))
    const tokens = byKey(JSON.stringify({ keys }))
    for (const { privateKey } of pairs)
      expect((await tokens.authenticate(await signed(privateKey, { alg: 'ES256' }))).subject).toBe('bot')
    const { privateKey } = await keyPair('ES256')
    await refused(tokens, await signed(privateKey, { alg: 'ES256' })).toThrow('signature')
  })

  it('of another issuer, for another audience, expired, not yet valid, or without a claim is refused by name', async () => {
    const tokens = bySecret({ issuer: 'https://id.example', audience: 'mesh' })
    const good = { iss: 'https://id.example', aud: 'mesh' }
    expect((await tokens.authenticate(await tokenFor('bot', good))).subject).toBe('bot')
    await refused(tokens, await tokenFor('bot', { ...good, iss: 'https://evil.example' })).toThrow(
      'claim iss',
    )
    await refused(tokens, await tokenFor('bot', { ...good, aud: 'other' })).toThrow('claim aud')
    await refused(tokens, await tokenFor('bot', { aud: 'mesh' })).toThrow('claim iss is missing')
    await refused(tokens, await tokenFor('bot', { ...good, expiresIn: -6 })).toThrow('expired')
    await refused(tokens, await tokenFor('bot', { ...good, expiresIn: null })).toThrow('claim exp is missing')
    await refused(tokens, await tokenFor('bot', { ...good, countsIn: 7 })).toThrow('does not count yet')
    expect((await tokens.authenticate(await tokenFor('bot', { ...good, countsIn: 3 }))).subject).toBe('bot')
    await refused(tokens, await tokenFor('b ot', good)).toThrow('sub must be')
  })

  it.each([
    ['ns', { ns: 7 }],
    ['ns', { ns: ['ok', 7] }],
    ['ns', { ns: 'Default' }],
    ['mesh', { mesh: 7 }],
    ['mesh', { mesh: ['sned'] }],
    ['mesh', { mesh: { send: 7 } }],
    ['mesh', { mesh: Array.from({ length: 257 }, () => 'send') }],
  ])('with a wrong claim %s is refused as a whole: %j', async (claim, fields) => {
    await refused(bySecret(), await tokenFor('bot', fields)).toMatchObject({
      code: 'unauthorized',
      message: expect.stringContaining(claim) as string,
    })
  })

  it('that expires beyond what a date can say is refused', async () => {
    await refused(bySecret(), await tokenFor('bot', { expiresIn: 1e15 })).toMatchObject({
      code: 'unauthorized',
    })
  })

  it('without mesh identifies and permits nothing; without ns it is for default', async () => {
    const header = encode({ alg: 'HS256' })
    const body = encode({ sub: 'bot', exp: Math.floor(Date.now() / 1_000) + 60 })
    const signature = createHmac('sha256', SECRET).update(`${header}.${body}`).digest('base64url')
    const principal = await bySecret().authenticate(`${header}.${body}.${signature}`)
    expect(principal.permissions).toEqual([])
    expect(['default', 'other'].map((name) => mayEnter(principal, name))).toEqual([true, false])
  })
})

describe('confusing algorithms', () => {
  it('none is refused, in every spelling', async () => {
    const unsecured = new UnsecuredJWT({ mesh: '*' }).setSubject('bot').setExpirationTime('1h').encode()
    const [, body] = unsecured.split('.')
    const pem = await pemOf(await keyPair('RS256'))
    for (const tokens of [bySecret(), byKey(pem)])
      for (const alg of ['none', 'None', 'NONE', '', null, undefined, 0, ['HS256'], { HS256: 1 }])
        for (const signature of ['', 'AA'])
          await refused(tokens, `${encode({ alg })}.${body}.${signature}`).toMatchObject({
            code: 'unauthorized',
          })
  })

  it.each(ASYMMETRIC)('a public key of %s is never the secret of HS256', async (alg) => {
    const pair = await keyPair(alg)
    const pem = await pemOf(pair)
    const jwk = JSON.stringify(await exportJWK(pair.publicKey))
    for (const text of [pem, jwk]) {
      for (const secret of [pem, pem.trim(), jwk]) {
        const token = await signed(new TextEncoder().encode(secret))
        await refused(byKey(text), token).toMatchObject({ code: 'unauthorized' })
        // Even where somebody lists HS256 beside it.
        const listed = byKey(text, { algorithms: ['HS256', alg] })
        await refused(listed, token).toMatchObject({ code: 'unauthorized' })
      }
    }
  })

  it('a key of one kind verifies no token of another, whatever the token calls it', async () => {
    for (const alg of ASYMMETRIC) {
      const tokens = byKey(await pemOf(await keyPair(alg)), { algorithms: ASYMMETRIC })
      for (const other of ASYMMETRIC) {
        const token = await signed((await keyPair(other)).privateKey, { alg: other })
        await refused(tokens, token).toMatchObject({ code: 'unauthorized' })
      }
    }
  })

  it('an algorithm that is not listed is refused though the key would fit', async () => {
    const pair = await keyPair('PS256')
    await refused(byKey(await pemOf(pair)), await signed(pair.privateKey, { alg: 'PS256' })).toThrow(
      'not signed by RS256',
    )
    const hs512 = await signed(new TextEncoder().encode(SECRET.repeat(2)), { alg: 'HS512' })
    await refused(bySecret(), hs512).toThrow('not signed by HS256')
  })

  it('a key that a token brings along is not looked at', async () => {
    const [own, foreign] = [await keyPair('ES256'), await keyPair('ES256')]
    const jwk = await exportJWK(foreign.publicKey)
    const token = await signed(foreign.privateKey, { alg: 'ES256' })
    const [, body = ''] = token.split('.')
    for (const header of [
      { alg: 'ES256', jwk },
      { alg: 'ES256', jku: 'http://127.0.0.1:1/keys' },
      { alg: 'ES256', crit: ['exp'] },
      { alg: 'ES256', b64: false, crit: ['b64'] },
    ]) {
      const input = `${encode(header)}.${body}`
      await refused(byKey(await pemOf(own)), `${input}.AAAA`).toMatchObject({ code: 'unauthorized' })
    }
  })
})

describe('what is no token', () => {
  it('is refused as unauthorized, whatever it is, and not shown', async () => {
    const tokens = bySecret()
    const good = await tokenFor('bot')
    const mutated = fc
      .tuple(fc.nat(good.length - 1), fc.constantFrom('A', '.', '=', ' ', '\u0000', 'é', '-'))
      .map(([at, character]) => good.slice(0, at) + character + good.slice(at + 1))
    const anything = fc.oneof(
      fc.string(),
      mutated.filter((text) => text !== good),
      fc.array(fc.base64String(), { minLength: 1, maxLength: 5 }).map((parts) => parts.join('.')),
      fc.json().map((text) => `${Buffer.from(text).toString('base64url')}.e30.AA`),
    )
    await fc.assert(
      fc.asyncProperty(anything, async (text) => {
        const error: unknown = await tokens.authenticate(text).catch((one: unknown) => one)
        // The last character of a signature has bits that mean nothing.
        if ((error as { subject?: string }).subject === 'bot' && text.slice(0, -1) === good.slice(0, -1))
          return
        expect(error).toMatchObject({ code: 'unauthorized' })
        if (text.length > 30) expect((error as Error).message).not.toContain(text)
      }),
      { numRuns: 500 },
    )
  })
})

describe('key files', () => {
  it('that are not for verifying tokens are refused', async () => {
    const rsa = await keyPair('RS256')
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    const spki = { type: 'spki', format: 'pem' } as const
    for (const text of [
      '',
      'secret',
      '{}',
      '{"keys":[]}',
      '[]',
      'null',
      '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----',
      await exportPKCS8(rsa.privateKey),
      JSON.stringify(await exportJWK(rsa.privateKey)),
      JSON.stringify({ kty: 'oct', k: 'c2VjcmV0' }),
      small.export(spki),
      p384.export(spki),
    ])
      expect(() => publicKeys(String(text)), String(text)).toThrow(
        expect.objectContaining({ name: 'KeyError' }) as Error,
      )
  })

  it('with a secret that is short, or a key that others know, are refused', async () => {
    expect(() => secretKeys('x'.repeat(31))).toThrow('31 bytes')
    expect(() => secretKeys(`${'x'.repeat(31)}\n\n`)).toThrow('31 bytes')
    const pem = await pemOf(await keyPair('RS256'))
    expect(() => secretKeys(pem)).toThrow('PEM')
    expect(await secretKeys(SECRET).candidates({ alg: 'RS256' })).toEqual([])
  })
})
