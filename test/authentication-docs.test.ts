import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { COMMANDS } from '../protocol/commands.ts'
import { parsePermission, VERBS } from '../src/auth/permission.ts'
import { parseTokens } from '../src/auth/token-file.ts'
import { flagOf, SETTING_NAMES } from '../src/config.ts'
import { parseSettings } from '../src/parse-settings.ts'
import { startHub } from '../src/server.ts'
import { connectAgent } from './support/agent.ts'
import { bearer, fileOfTest } from './support/authentication.ts'
import { startTestHub } from './support/hubs.ts'
import { fencedBlocks, tableRows } from './support/markdown.ts'
import { ROOT, runNode } from './support/run.ts'
import { like, stepsOf, type } from './support/typed-commands.ts'

const MAIN = 'dist/src/cli/main.js'
const GUIDE = readFileSync(join(ROOT, 'docs/authentication.md'), 'utf8')
const blocks = (language: string, part: string): string =>
  fencedBlocks(GUIDE, language).find((block) => block.includes(part)) ?? ''

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'meshwire-docs-'))
  onTestFinished(() => rm(path, { recursive: true }))
  return path
}

/** The lines of a block that do not start a hub, run by a shell. */
async function shell(block: string, cwd: string): Promise<string> {
  const lines = block.split('\n').filter((line) => !line.startsWith('npx meshwire'))
  return (await promisify(execFile)('sh', ['-ec', lines.join('\n')], { cwd })).stdout.trim()
}

describe('docs/authentication.md', () => {
  it('shows a file of tokens that is one', () => {
    expect(parseTokens(blocks('json', '"sha256"')).map(({ principal }) => principal.subject)).toEqual([
      'planner',
      'worker',
    ])
  })

  it('shows how to make a token and its entry, which lets in', async () => {
    const cwd = await directory()
    const sha256 = await shell(blocks('sh', 'planner.token'), cwd)
    const tokensFile = join(cwd, 'tokens.json')
    await writeFile(
      tokensFile,
      JSON.stringify([{ sha256, sub: 'planner', permissions: ['register', 'serve'] }]),
    )
    await using hub = await startTestHub('memory', { tokensFile })
    const token = (await readFile(join(cwd, 'planner.token'), 'utf8')).trim()
    await using agent = await connectAgent(hub, { headers: bearer(token) })
    expect(agent.id).toBe('planner')
  })

  it('shows how to make signed tokens and connect with them, with what is printed', async () => {
    const cwd = await directory()
    await shell(blocks('sh', 'mesh.secret'), cwd)
    const secret = join(cwd, 'mesh.secret')
    await using hub = await startTestHub('memory', { jwtSecretFile: secret })
    const source = blocks('js', 'SignJWT')
      .replace('ws://127.0.0.1:7171/mesh', hub.url)
      .replace("'mesh.secret'", JSON.stringify(secret))
    const ended = await runNode(['--input-type=module', '-'], {}, source)
    expect(ended).toEqual({ code: 0, errors: '', output: blocks('', 'the token of "worker"') })
  })

  it('starts hubs by commands that start one', async () => {
    const cwd = await directory()
    await shell(blocks('sh', 'mesh.secret'), cwd)
    await writeFile(join(cwd, 'tokens.json'), blocks('json', '"sha256"'))
    const lines = fencedBlocks(GUIDE, 'sh').flatMap((block) => block.match(/^npx meshwire start .*$/gm) ?? [])
    expect(lines.length).toBeGreaterThan(2)
    for (const line of lines) {
      const [, , , ...flags] = line.split(' ')
      // The page's files, and on loopback, whatever the page says.
      const given = flags.map((flag) => (/\.(?:json|secret)$/.test(flag) ? join(cwd, flag) : flag))
      const settings = SETTING_NAMES.flatMap((name) => {
        const at = given.indexOf(flagOf(name))
        return at === -1 ? [] : [[name, given[at + 1]] as const]
      })
      expect(settings.length * 2, line).toBe(flags.length)
      await using hub = await startHub({
        ...parseSettings(Object.fromEntries(settings)),
        host: '127.0.0.1',
        port: 0,
        logLevel: 'silent',
      })
      expect((await fetch(`${hub.httpUrl}/registry/agents`)).status, line).toBe(401)
    }
  })

  it('shows what curl prints, with and without a token', async () => {
    const tokensFile = await fileOfTest('tokens.json', blocks('json', 'the-token-of-prometheus'))
    await using hub = await startTestHub('memory', { tokensFile })
    const steps = stepsOf(GUIDE, 'console')
    expect(steps.length).toBeGreaterThan(4)
    for (const { command, output } of steps)
      expect(like(await type(command, hub.httpUrl), output), command).toBe(output)
  })

  it('names flags that there are', async () => {
    const { output } = await runNode([MAIN, 'start', '--help'])
    const flags = [...GUIDE.matchAll(/--[a-z][a-z-]+/g)].map(([flag]) => flag)
    expect(flags.length).toBeGreaterThan(5)
    for (const flag of flags) expect(output).toContain(flag)
  })

  const rows = tableRows(GUIDE)

  it('lists every verb with its subjects, in order, and examples that are permissions of it', () => {
    const listed = rows.filter(([verb = '']) => Object.hasOwn(VERBS, verb.replaceAll('`', '')))
    const code = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)
    expect(listed.map(([verb, subjects]) => [...code(verb), ...code(subjects)])).toEqual(
      Object.entries(VERBS).map(([verb, kinds]) => [verb, ...kinds]),
    )
    for (const [verb, , example, takes] of listed) {
      const permissions = [...code(example), ...code(takes).filter((text) => text.includes('='))]
      for (const text of permissions) expect(parsePermission(text).verb).toBe(code(verb)[0])
    }
  })

  it('names every command, with what it takes or as one that takes nothing', () => {
    const without = new Set([
      'bye',
      'ping',
      'pong',
      'unsubscribe',
      'stream.credit',
      'stream.chunk',
      'stream.end',
      'stream.cancel',
    ])
    for (const type of Object.keys(COMMANDS)) if (!without.has(type)) expect(GUIDE).toContain(`\`${type}\``)
  })
})
