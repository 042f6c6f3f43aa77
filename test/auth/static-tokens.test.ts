import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { may, mayEnter } from '../../src/auth/principal.ts'
import { StaticTokens } from '../../src/auth/static-tokens.ts'
import { parseTokens } from '../../src/auth/token-file.ts'

const TOKEN = 'correct-horse-battery-staple'
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'meshwire-tokens-'))
  onTestFinished(() => rm(path, { recursive: true }))
  return path
}

interface Line {
  readonly level: 'info' | 'error'
  readonly fields: object
  readonly message: string
}

/** Tokens of a file that the test writes. */
async function opened(entries: unknown, now: () => number = Date.now) {
  const path = join(await directory(), 'tokens.json')
  await writeFile(path, JSON.stringify(entries))
  const lines: Line[] = []
  const log = {
    info: (fields: object, message: string) => void lines.push({ level: 'info', fields, message }),
    error: (fields: object, message: string) => void lines.push({ level: 'error', fields, message }),
  }
  const tokens = await StaticTokens.open(path, log, now)
  onTestFinished(() => tokens.close())
  return { tokens, path, lines, write: (text: string) => writeFile(path, text) }
}

describe('a token of a file', () => {
  it('is recognised by its hash or by itself, and has the namespaces and permissions listed with it', async () => {
    const { tokens } = await opened([
      { sha256: sha256(TOKEN), sub: 'bot', namespaces: ['default', 'team-*'], permissions: ['send:a*'] },
      { token: `other-${TOKEN}`, sub: 'other', permissions: { discover: true, send: ['x', 'y'] } },
    ])
    const bot = await tokens.authenticate(TOKEN)
    expect([bot.subject, bot.expiresAt]).toEqual(['bot', null])
    expect(['default', 'team-1', 'staging'].map((name) => mayEnter(bot, name))).toEqual([true, true, false])
    expect(may(bot, 'send', { kind: 'agent', value: 'a1' })).toBe(true)
    const other = await tokens.authenticate(`other-${TOKEN}`)
    expect(['default', 'staging'].map((name) => mayEnter(other, name))).toEqual([true, false])
    expect(may(other, 'send', { kind: 'agent', value: 'y' })).toBe(true)
    expect(may(other, 'send', { kind: 'agent', value: 'z' })).toBe(false)
  })

  it.each([null, '', 'x', `${TOKEN} `, sha256(TOKEN)])('is not %j', async (token) => {
    const { tokens } = await opened([{ sha256: sha256(TOKEN), sub: 'bot' }])
    await expect(tokens.authenticate(token)).rejects.toMatchObject({ code: 'unauthorized' })
  })

  it('counts until it expires', async () => {
    let now = Date.parse('2026-11-21T11:59:59Z')
    const { tokens } = await opened(
      [{ token: TOKEN, sub: 'bot', expiresAt: '2026-11-21T12:00:00Z' }],
      () => now,
    )
    expect(await tokens.authenticate(TOKEN)).toMatchObject({ expiresAt: Date.parse('2026-11-21T12:00:00Z') })
    now += 1_000
    await expect(tokens.authenticate(TOKEN)).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringContaining('expired') as string,
    })
  })
})

describe('a file of tokens', () => {
  it.each([
    ['no JSON', '[{"token":"correct-horse'],
    ['an object', '{}'],
    ['an entry without a token', '[{"sub":"bot"}]'],
    ['both ways to give it', JSON.stringify([{ token: TOKEN, sha256: sha256(TOKEN), sub: 'bot' }])],
    ['a misspelt field', JSON.stringify([{ token: TOKEN, sub: 'bot', permisions: [] }])],
    ['an unknown verb', JSON.stringify([{ token: TOKEN, sub: 'bot', permissions: ['sned'] }])],
    ['a subject that can begin no agent id', JSON.stringify([{ token: TOKEN, sub: 'b ot' }])],
    ['a namespace that is none', JSON.stringify([{ token: TOKEN, sub: 'bot', namespaces: ['Default'] }])],
    ['a token that is too short', '[{"token":"short","sub":"bot"}]'],
    ['a token that no header carries', '[{"token":"correct-horse battery staple","sub":"bot"}]'],
    ['the same token twice', JSON.stringify([TOKEN, TOKEN].map((token) => ({ token, sub: 'bot' })))],
    ['an expiry that is no time', JSON.stringify([{ token: TOKEN, sub: 'bot', expiresAt: 'soon' }])],
  ])('with %s is refused as a whole, and what is said shows no token', (_, text) => {
    let message = ''
    try {
      parseTokens(text)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).not.toBe('')
    expect(message).not.toContain('correct-horse')
  })

  it('that is not there is an error from the start', async () => {
    const log = { info: () => undefined, error: () => undefined }
    await expect(StaticTokens.open(join(await directory(), 'none.json'), log)).rejects.toThrow('ENOENT')
  })

  it('that changes is read again: what is new counts, what is gone does not', async () => {
    const { tokens, lines, write } = await opened([{ token: TOKEN, sub: 'bot', permissions: ['send'] }])
    const bot = await tokens.authenticate(TOKEN)
    let changes = 0
    tokens.onChange(() => void changes++)
    await write(JSON.stringify([{ token: TOKEN, sub: 'bot', permissions: ['send', 'lead'] }]))
    await tokens.look()
    expect(tokens.current(bot)?.permissions).toHaveLength(2)
    await write(JSON.stringify([{ token: `new-${TOKEN}`, sub: 'bot' }]))
    await tokens.look()
    await tokens.look()
    expect([tokens.current(bot), changes]).toEqual([null, 2])
    await expect(tokens.authenticate(TOKEN)).rejects.toMatchObject({ code: 'unauthorized' })
    expect((await tokens.authenticate(`new-${TOKEN}`)).subject).toBe('bot')
    expect(lines.map(({ level }) => level)).toEqual(['info', 'info'])
  })

  it('that is wrong or gone later leaves the tokens as they were, and is told of once', async () => {
    const { tokens, path, lines, write } = await opened([{ token: TOKEN, sub: 'bot' }])
    await write('[{"token":"correct-horse')
    await tokens.look()
    await tokens.look()
    await unlink(path)
    await tokens.look()
    await tokens.look()
    expect((await tokens.authenticate(TOKEN)).subject).toBe('bot')
    expect(lines.map(({ level }) => level)).toEqual(['error', 'error'])
    expect(JSON.stringify(lines)).not.toContain('correct-horse')
    await write(JSON.stringify([{ token: `new-${TOKEN}`, sub: 'bot' }]))
    await tokens.look()
    await expect(tokens.authenticate(TOKEN)).rejects.toMatchObject({ code: 'unauthorized' })
  })

  it('that changes in place, by something that keeps its length and time, is read again', async () => {
    const { tokens, path } = await opened([{ token: TOKEN, sub: 'bot' }])
    const text = await readFile(path, 'utf8')
    for (const now of [text, text.replace(TOKEN, TOKEN.toUpperCase())]) {
      await writeFile(path, now)
      await utimes(path, 1_000_000_000, 1_000_000_000)
      await tokens.look()
    }
    await expect(tokens.authenticate(TOKEN)).rejects.toMatchObject({ code: 'unauthorized' })
    expect(await tokens.authenticate(TOKEN.toUpperCase())).toMatchObject({ subject: 'bot' })
  })

  it('that is another one behind a link is noticed', async () => {
    const path = await directory()
    await writeFile(join(path, 'one'), JSON.stringify([{ token: TOKEN, sub: 'one' }]))
    await writeFile(join(path, 'two'), JSON.stringify([{ token: TOKEN, sub: 'two' }]))
    await symlink('one', join(path, 'tokens'))
    const tokens = await StaticTokens.open(join(path, 'tokens'), {
      info: () => undefined,
      error: () => undefined,
    })
    onTestFinished(() => tokens.close())
    await symlink('two', join(path, 'next'))
    await rename(join(path, 'next'), join(path, 'tokens'))
    await tokens.look()
    expect((await tokens.authenticate(TOKEN)).subject).toBe('two')
  })
})
