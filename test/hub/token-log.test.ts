import { Writable } from 'node:stream'
import { writeFile } from 'node:fs/promises'
import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import { startHub } from '../../src/server.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { bearer, fileOfTest, withSecret } from '../support/authentication.ts'
import { SECRET, tokenFor } from '../support/tokens.ts'

describe('the log', () => {
  it('has no token and no secret in it, however they came and whatever became of them', async () => {
    let log = ''
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        log += chunk.toString()
        done()
      },
    })
    const listed = 'the-token-of-a-file-itself'
    const tokensFile = await fileOfTest(
      'tokens.json',
      JSON.stringify([{ token: listed, sub: 'listed', permissions: ['*'] }]),
    )
    const logger = pino({ level: 'trace' }, stream)
    await using hub = await startHub({ port: 0, tokensFile, ...(await withSecret()), logger })
    const good = await tokenFor('alice')
    const bad = await tokenFor('mallory', { expiresIn: -60 })
    const forged = `${good.slice(0, -8)}AAAAAAAA`
    await using alice = await connectAgent(hub, { headers: bearer(good) })
    await using _listed = await connectAgent(hub, { headers: bearer(listed) })
    await alice.answer({ type: 'auth', token: good })
    for (const token of [bad, forged, `${listed}x`]) {
      await expect(connectAgent(hub, { headers: bearer(token) })).rejects.toThrow('401')
      await alice.refusal({ type: 'auth', token })
      await alice.refusal({ type: 'auth', token: { token } })
      await using socket = await openSocket(hub)
      await socket.refusal({ type: 'hello', protocol: 1, token })
    }
    for (const token of [good, listed]) {
      await expect(openSocket(`${hub.url}?token=${token}`)).rejects.toThrow('400')
      await fetch(`${hub.httpUrl}/health?access_token=${token}`)
    }
    await writeFile(tokensFile, `[{"token":"${listed}",`)
    await vi.waitFor(() => expect(log).toContain('tokens cannot be read again'), { timeout: 5_000 })
    expect(log).toContain('connection open')
    expect(log).toContain('"subject":"alice"')
    // Of a signed one neither what it says nor its signature; its head says nothing.
    const parts = [good, bad, forged].flatMap((token) => token.split('.').slice(1))
    for (const secret of [...parts, listed, SECRET]) expect(log).not.toContain(secret)
  })
})

describe('an error', () => {
  it.each([
    ['hello', { token: `${SECRET}${'x'.repeat(20_000)}` }],
    ['hello', { token: [SECRET] }],
    ['hello', { token: 'a token of the right shape', session: { session: SECRET } }],
    ['hello', { session: SECRET.repeat(20) }],
    ['auth', { token: { token: SECRET } }],
    ['auth', { token: `${SECRET}${'x'.repeat(20_000)}` }],
  ])(
    'of %s shows nothing of a token or a session: it ends up in the log of its client',
    async (type, fields) => {
      await using hub = await startHub({ port: 0, logLevel: 'silent' })
      await using socket = await openSocket(hub)
      if (type === 'auth') await socket.answer({ type: 'hello', protocol: 1 })
      const { code, message } = await socket.refusal({ type, protocol: 1, ...fields })
      expect(code).toBe('bad_frame')
      expect(message).toMatch(/^(hello|auth): (token|session) is wrong; /)
      expect(message).not.toContain(SECRET.slice(0, 12))
    },
  )
})
