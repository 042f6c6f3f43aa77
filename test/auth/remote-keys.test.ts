import { generateKeyPairSync } from 'node:crypto'
import { exportJWK, type JWSHeaderParameters } from 'jose'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { JwtTokens } from '../../src/auth/jwt.ts'
import { RemoteKeys } from '../../src/auth/remote-keys.ts'
import { keyPair, signed, startIssuer } from '../support/tokens.ts'

const MINUTE_MS = 60_000

/** Keys of an issuer, with a clock that the test moves. */
async function started(timeoutMs?: number) {
  const issuer = await startIssuer()
  const clock = { now: Date.now() }
  const problems: Error[] = []
  const keys = new RemoteKeys({
    url: issuer.url,
    onError: (error) => void problems.push(error),
    now: () => clock.now,
    ...(timeoutMs !== undefined && { timeoutMs }),
  })
  const pair = await keyPair('ES256')
  await issuer.publish({ pair, kid: 'k1' })
  const has = async (header: JWSHeaderParameters): Promise<number> =>
    (await keys.candidates({ alg: 'ES256', ...header })).length
  return { issuer, clock, keys, pair, problems, has }
}

describe('keys of an issuer', () => {
  it('verify its tokens, fetched once', async () => {
    const { issuer, keys, pair } = await started()
    const tokens = new JwtTokens({ keys, algorithms: ['ES256'], issuer: null, audience: null })
    for (let i = 0; i < 3; i++)
      expect(
        (await tokens.authenticate(await signed(pair.privateKey, { alg: 'ES256', kid: 'k1' }))).subject,
      ).toBe('bot')
    expect(issuer.asked).toBe(1)
  })

  it('are fetched by one request for all who wait', async () => {
    const { issuer, has } = await started()
    let answer = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      issuer.answer = (response, keys) => {
        answer = () => void response.end(keys)
        resolve()
      }
    })
    const all = Promise.all(Array.from({ length: 50 }, () => has({ kid: 'k1' })))
    await asked
    answer()
    expect(new Set(await all)).toEqual(new Set([1]))
    expect(issuer.asked).toBe(1)
  })

  it('are fetched again when a token names one that is new, at once', async () => {
    const { issuer, pair, has } = await started()
    expect(await has({ kid: 'k1' })).toBe(1)
    await issuer.publish({ pair, kid: 'k1' }, { pair: await keyPair('ES256'), kid: 'k2' })
    expect(await has({ kid: 'k2' })).toBe(1)
    await issuer.publish({ pair: await keyPair('ES256'), kid: 'k3' })
    expect(await has({ kid: 'k3' })).toBe(1)
    expect(issuer.asked).toBe(3)
    expect(await has({ kid: 'k1' })).toBe(0)
  })

  it('that they do not have are not asked for again for a while', async () => {
    const { issuer, clock, has } = await started()
    for (let i = 0; i < 5; i++) expect(await has({ kid: 'made-up' })).toBe(0)
    expect(issuer.asked).toBe(2)
    clock.now += 31_000
    expect(await has({ kid: 'made-up' })).toBe(0)
    expect(issuer.asked).toBe(3)
  })

  it('bring about few requests where somebody makes up ever new ones, and those that are known stay good', async () => {
    const { issuer, clock, has } = await started()
    const outcomes: unknown[] = []
    for (let i = 0; i < 200; i++)
      outcomes.push(await has({ kid: `made-up-${i}` }).catch((error: { code: string }) => error.code))
    expect(issuer.asked).toBe(6)
    expect(outcomes.slice(0, 5)).toEqual([0, 0, 0, 0, 0])
    // Whether there is such a key is not known: that is no word on the token.
    expect(new Set(outcomes.slice(5))).toEqual(new Set(['internal']))
    expect(await has({ kid: 'k1' })).toBe(1)
    clock.now += 10_000
    expect(await has({ kid: 'made-up-200' })).toBe(0)
    expect(issuer.asked).toBe(7)
  })

  it('are fetched again after ten minutes, so one that was taken back counts no more', async () => {
    const { issuer, clock, has } = await started()
    expect(await has({ kid: 'k1' })).toBe(1)
    await issuer.publish({ pair: await keyPair('ES256'), kid: 'k2' })
    clock.now += 9 * MINUTE_MS
    expect(await has({ kid: 'k1' })).toBe(1)
    clock.now += MINUTE_MS
    expect(await has({ kid: 'k1' })).toBe(0)
  })

  it('that cannot be had let nobody in, and that can be tried again', async () => {
    const { issuer, clock, has, problems } = await started()
    issuer.answer = (response) => void response.writeHead(500).end()
    const unavailable = { code: 'internal', retryable: true, retryAfterMs: 2_000 }
    await expect(has({ kid: 'k1' })).rejects.toMatchObject(unavailable)
    await expect(has({ kid: 'k1' })).rejects.toMatchObject(unavailable)
    expect([issuer.asked, problems.length]).toEqual([1, 1])
    issuer.answer = (response, keys) => void response.end(keys)
    clock.now += 2_000
    expect(await has({ kid: 'k1' })).toBe(1)
  })

  it('are asked for again as ever where the clock of the machine is put back', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const issuer = await startIssuer()
    await issuer.publish({ pair: await keyPair('ES256'), kid: 'k1' })
    const keys = new RemoteKeys({ url: issuer.url, onError: () => undefined })
    const found = async (): Promise<number> => (await keys.candidates({ alg: 'ES256', kid: 'k1' })).length
    issuer.answer = (response) => void response.writeHead(500).end()
    await expect(found()).rejects.toMatchObject({ code: 'internal' })
    issuer.answer = (response, text) => void response.end(text)
    vi.setSystemTime(Date.now() - 60 * MINUTE_MS)
    vi.advanceTimersByTime(2_000)
    expect(await found()).toBe(1)
    vi.setSystemTime(Date.now() - 60 * MINUTE_MS)
    vi.advanceTimersByTime(11 * MINUTE_MS)
    await issuer.publish()
    expect(await found()).toBe(0)
  })

  it('of an issuer that is down stay for an hour, then nobody is let in', async () => {
    const { issuer, clock, has } = await started()
    expect(await has({ kid: 'k1' })).toBe(1)
    issuer.answer = (response) => void response.destroy()
    clock.now += 11 * MINUTE_MS
    expect(await has({ kid: 'k1' })).toBe(1)
    clock.now += 50 * MINUTE_MS
    await expect(has({ kid: 'k1' })).rejects.toMatchObject({ code: 'internal' })
  })

  it('of an issuer that does not answer are given up', async () => {
    const { issuer, has } = await started(100)
    issuer.answer = () => undefined
    await expect(has({ kid: 'k1' })).rejects.toMatchObject({ code: 'internal' })
  })

  it.each([
    ['no JSON', 'keys'],
    ['null', 'null'],
    ['no list', '{"keys":{}}'],
    ['a list of nothing', '{"keys":[null]}'],
    ['more than a mebibyte', `{"keys":[],"x":"${'x'.repeat(1_048_576)}"}`],
  ])('that are %s let nobody in', async (_, text) => {
    const { issuer, has } = await started()
    issuer.answer = (response) => void response.end(text)
    await expect(has({ kid: 'k1' })).rejects.toMatchObject({ code: 'internal' })
  })

  it('are not fetched from where a redirection leads', async () => {
    const { issuer, has } = await started()
    const other = await startIssuer()
    await other.publish({ pair: await keyPair('ES256'), kid: 'k1' })
    issuer.answer = (response) => void response.writeHead(302, { location: other.url }).end()
    await expect(has({ kid: 'k1' })).rejects.toMatchObject({ code: 'internal' })
    expect(other.asked).toBe(0)
  })

  it('that are secrets or private are passed over', async () => {
    const { issuer, has } = await started()
    issuer.answer = (response) =>
      void response.end(
        JSON.stringify({
          keys: [
            { kty: 'oct', k: 'c2VjcmV0', kid: 'k1' },
            { kty: 'EC', crv: 'P-256', d: 'AA', kid: 'k1' },
          ],
        }),
      )
    expect(await has({ kid: 'k1' })).toBe(0)
    expect(await has({ kid: 'k1', alg: 'HS256' })).toBe(0)
  })
  it('that are short or no keys at all are passed over, and those beside them count', async () => {
    const { issuer, has } = await started()
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 })
    const good = await exportJWK((await keyPair('ES256')).publicKey)
    const keys = [
      { ...publicKey.export({ format: 'jwk' }), kid: 'short' },
      { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'no key' },
      { kty: 'OKP', crv: 'Ed25519', x: 5, kid: 'no text' },
      { ...good, kid: 'good' },
    ]
    issuer.answer = (response) => void response.end(JSON.stringify({ keys }))
    expect(await has({ kid: 'short', alg: 'RS256' })).toBe(0)
    expect(await has({ kid: 'no key' })).toBe(0)
    expect(await has({ kid: 'no text', alg: 'EdDSA' })).toBe(0)
    expect(await has({ kid: 'good' })).toBe(1)
  })
})
