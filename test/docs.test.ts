import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { dirname, join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { CLOSE_CODES } from '../protocol/close-codes.ts'
import { COMMANDS, type CommandType } from '../protocol/commands.ts'
import { ERRORS } from '../protocol/error-table.ts'
import { flagOf, SETTING_NAMES, type SettingName, settingsSchema, variableOf } from '../src/config.ts'
import { startMesh } from './support/hubs.ts'
import { fencedBlocks, headingAnchors, jsonValues, linkTargets, tableRows } from './support/markdown.ts'
import { ROOT, runNode, startNode } from './support/run.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const README = read('README.md')
const PROTOCOL = read('docs/PROTOCOL.md')

interface Rule {
  readonly type: 'string' | 'integer' | 'boolean' | 'array'
  readonly description: string
  readonly default?: string | number | boolean | readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly string[]
  readonly items?: Pick<Rule, 'enum'>
}

/** The rules of src/config.ts as data. */
const RULES = z.toJSONSchema(settingsSchema).properties as unknown as Readonly<Record<SettingName, Rule>>

/** Bounds that are sentences rather than numbers. */
const WORDED_BOUNDS: Partial<Record<SettingName, string>> = {
  mxpUdpHost: 'not empty',
  mxpNamespace: '1 to 64 of a-z 0-9 -',
  host: 'not empty',
  tlsCert: 'not empty',
  tlsKey: 'not empty',
  trustedProxies: 'addresses and networks, with commas between',
  insecureOpen: 'true, false',
  tokensFile: 'not empty',
  jwtSecretFile: 'not empty',
  jwtKeyFile: 'not empty',
  jwksUrl: 'https, or http on loopback',
  jwtIssuer: 'not empty',
  jwtAudience: 'not empty',
  allowedHosts: 'names, with commas between',
  allowedOrigins: 'origins, with commas between',
  redisUrl: 'as below',
  redisCa: 'not empty',
  redisCert: 'not empty',
  redisKey: 'not empty',
  keyPrefix: '1 to 64 of A-Z a-z 0-9 _ . -',
  httpNamespace: '1 to 64 of a-z 0-9 -',
}

const UNITS: readonly (readonly [RegExp, string])[] = [
  [/Ms$/, 'ms'],
  [/Bytes(?:Max)?$/, 'bytes'],
  [/^(?:h|addressH)andshakesPerSecond$/, 'connections/s'],
  [/^mxpUdpRatePerSecond$/, 'answers/s'],
  [/^(?:r|principalR)atePerSecond$/, 'frames/s'],
  [/^namespaceAgentsMax$/, 'agents'],
  [/^workers$/, 'processes'],
  [/^(?:r|principalR)ateBurst$/, 'frames'],
  [/^(?:inbox|broadcast|httpInbox)Max$/, 'entries'],
  [/^httpMessageKinds$/, 'types'],
  [/^queueMax$/, 'messages'],
  [/^eventsMax$/, 'events'],
  [/^deadMax$/, 'messages'],
  [/^maxAttempts$/, 'attempts'],
]

function bounds(name: SettingName): string {
  const { minimum, maximum, items } = RULES[name]
  const values = RULES[name].enum ?? items?.enum
  if (values) return values.join(', ')
  return WORDED_BOUNDS[name] ?? `${minimum} to ${maximum}`
}

describe('docs/configuration.md', () => {
  const plain = (cell: string): string => cell.replaceAll('`', '').replace(/(?<=\d),(?=\d{3})/g, '')
  const rows = tableRows(read('docs/configuration.md')).filter(([flag]) => flag?.startsWith('`--'))

  it('lists every setting once, in the order of src/config.ts', () => {
    expect(rows.map(([, , option = '']) => plain(option))).toEqual(SETTING_NAMES)
  })

  it.each(SETTING_NAMES)('tells flag, variable, unit, default, bounds and meaning of %s', (name) => {
    const row = rows.find(([, , option]) => option === `\`${name}\``)
    const unit = UNITS.find(([pattern]) => pattern.test(name))?.[1] ?? ''
    const { default: given = 'absent' } = RULES[name]
    const preset = Array.isArray(given) && given.length === 0 ? 'none' : String(given)
    expect(row?.slice(0, 6).map(plain)).toEqual([
      flagOf(name),
      variableOf(name),
      name,
      unit,
      preset,
      bounds(name),
    ])
    expect(row?.[6]).toBe(RULES[name].description)
  })
})

describe('docs/PROTOCOL.md', () => {
  it('lists every error code with what it means, whether to try again and what to do', () => {
    const listed = tableRows(PROTOCOL).filter(
      ([code, retryable]) => code?.startsWith('`') && /^(?:yes|no)$/.test(retryable ?? ''),
    )
    expect(listed).toEqual(
      Object.entries(ERRORS).map(([code, { retryable, sentence, remedy }]) => [
        `\`${code}\``,
        retryable ? 'yes' : 'no',
        sentence,
        remedy,
      ]),
    )
  })

  it('lists every close code of its own', () => {
    const listed = tableRows(PROTOCOL)
      .filter(([code]) => /^\d{4}$/.test(code ?? ''))
      .flatMap(([left, , right]) => [Number(left), Number(right)])
    const own = Object.values(CLOSE_CODES).filter((code) => code >= 4000)
    expect(listed.toSorted()).toEqual(own.toSorted())
  })

  it('says that the standard close codes this hub uses are final', () => {
    const [final = ''] = /4400–4499,[^*]*: do not, unchanged/.exec(PROTOCOL) ?? []
    for (const code of Object.values(CLOSE_CODES)) if (code < 4000) expect(final).toContain(String(code))
  })

  const blocks = fencedBlocks(PROTOCOL, 'json')
  const frames = blocks.flatMap(jsonValues) as { readonly type: string }[]

  it('has JSON examples that are frames, one after the other', () => {
    expect(blocks.length).toBeGreaterThan(5)
    for (const frame of frames) expect(frame).toHaveProperty('type', expect.any(String))
  })

  it('has no example of a command that a hub would refuse', () => {
    const commands = frames.filter(({ type }) => Object.hasOwn(COMMANDS, type))
    expect(commands.length).toBeGreaterThan(8)
    for (const command of commands) {
      expect(COMMANDS[command.type as CommandType].safeParse(command)).toMatchObject({ success: true })
    }
  })
})

describe('links', () => {
  const pages = [
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'examples/README.md',
    ...readdirSync(join(ROOT, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ]

  it.each(pages)('of %s lead to files and headings that exist', (page) => {
    const broken = linkTargets(read(page)).filter((target) => {
      if (/^https?:/.test(target)) return false
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path))
      if (!existsSync(join(ROOT, file))) return true
      return anchor !== undefined && !headingAnchors(read(file)).has(anchor)
    })
    expect(broken).toEqual([])
  })

  it('of the README lead to everything in docs/, and to SECURITY.md', () => {
    const targets = linkTargets(README).map((target) => target.split('#')[0])
    for (const page of readdirSync(join(ROOT, 'docs'))) expect(targets).toContain(`docs/${page}`)
    expect(targets).toContain('SECURITY.md')
  })
})

describe('the README', () => {
  const [code = '', workCode = ''] = fencedBlocks(README, 'js')
  const [startLine = '', answer = ''] = fencedBlocks(README, '')
  const DEFAULT_URL = 'ws://127.0.0.1:7171/mesh'

  /** Runs the README's code with its url replaced. */
  const run = (source: string) => runNode(['--input-type=module', '-'], {}, source)

  it('shows twelve lines of agent code, which print what it says', async () => {
    expect(code.trimEnd().split('\n')).toHaveLength(12)
    expect(code).toContain(`'${DEFAULT_URL}'`)
    await using mesh = await startMesh('memory', 1)
    const ended = await run(code.replace(DEFAULT_URL, mesh.hub(0).url))
    expect(ended).toEqual({ code: 0, output: answer, errors: '' })
  })

  it('shows how work is handed out and an answer is streamed, with what is printed', async () => {
    const printed = fencedBlocks(README, '').find((block) => block.startsWith('writing'))
    await using mesh = await startMesh('memory', 1)
    const ended = await run(workCode.replace(DEFAULT_URL, mesh.hub(0).url))
    expect({ ...ended, output: ended.output.trimEnd() }).toEqual({
      code: 0,
      output: printed?.trimEnd(),
      errors: '',
    })
  })

  it.each(['memory', 'redis'] as const)('shows code that works over two hubs on one %s', async (core) => {
    await using mesh = await startMesh(core, 2)
    const source = code
      .replace(DEFAULT_URL, mesh.hub(0).url)
      .replace("connect({ url, name: 'planner'", `connect({ url: '${mesh.hub(1).url}', name: 'planner'`)
    expect(source).toContain(mesh.hub(1).url)
    expect(await run(source)).toEqual({ code: 0, output: answer, errors: '' })
  })

  it('shows the line that the hub prints, and Ctrl-C ends the hub with exit code 0', async () => {
    const args = ['dist/src/cli/main.js', 'start', '--port', '0', '--log-level', 'error']
    await using running = startNode(args)
    const { child: hub } = running
    const errors = text(hub.stderr)
    const [line] = (await once(hub.stdout, 'data')) as [Buffer]
    const neutral = (one: string) =>
      one.replace(/hub-\S+/, 'hub-…').replace(/127\.0\.0\.1:\d+\/mesh/, '127.0.0.1:…/mesh')
    expect(neutral(line.toString())).toBe(neutral(startLine))
    hub.kill('SIGINT')
    expect(await once(hub, 'exit')).toEqual([0, null])
    expect(await errors).toBe('')
  })
})
