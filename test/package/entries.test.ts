import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fencedBlocks, linkTargets } from '../support/markdown.ts'
import { installPacked, type Packed } from '../support/packed.ts'

let project: Packed
beforeAll(async () => {
  project = await installPacked(['@types/node', 'undici-types', 'vitest'])
})
afterAll(async () => project[Symbol.asyncDispose]())

const ENTRIES = [
  'meshwire',
  'meshwire/client',
  'meshwire/protocol',
  'meshwire/testing',
  'meshwire/client/file',
  'meshwire/client/indexeddb',
  'meshwire/client/outbox',
] as const

/** What a program that uses every entry does: a query is asked and answered. It prints `42 meshwire.v1`. */
const PROGRAM = `
async function main() {
  for (const make of [fileOutbox, indexedDbOutbox, outboxOn])
    if (typeof make !== 'function') throw new Error('no outbox')
  const hub = await startHub({ port: 0, logLevel: 'silent' })
  const worker = await connect({ url: hub.url, name: 'worker', capabilities: ['double'] })
  worker.onMessage('query', ({ payload }) => payload * 2)
  const test = await startTestHub()
  const asker = await connect({ url: hub.url, name: 'asker', capabilities: ['ask'] })
  const { payload } = await asker.request({ capability: 'double' }, 21)
  console.log(payload, SUBPROTOCOL)
  await Promise.all([worker.close(), asker.close(), test.close()])
  await hub.close()
}
main()
`
const NAMES = [
  'startHub',
  'connect',
  'SUBPROTOCOL',
  'startTestHub',
  'fileOutbox',
  'indexedDbOutbox',
  'outboxOn',
] as const

describe('the tarball', () => {
  it('holds what is built, the documents and the examples, and nothing else', () => {
    const paths = project.report.files.map(({ path }) => path)
    const expected =
      /^(?:dist\/.*\.(?:js|d\.ts|lua)|docs\/(?:[\w-]+\.md|grafana-dashboard\.json)|examples\/.*\.(?:mjs|md|py))$/
    const others = paths.filter((path) => !expected.test(path))
    expect(others.toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json'])
    const { size, unpackedSize } = project.report
    console.log(`tarball: ${paths.length} files, ${size} bytes packed, ${unpackedSize} bytes unpacked`)
    expect(size).toBeLessThan(640 * 1024)
  })

  it('holds every file that its documents link to', () => {
    const pages = project.report.files.map(({ path }) => path).filter((path) => path.endsWith('.md'))
    const broken = pages.flatMap((page) =>
      linkTargets(readFileSync(join(project.installed, page), 'utf8'))
        .map((target) => target.split('#')[0] ?? '')
        .filter((path) => path !== '' && !/^https?:/.test(path))
        .filter((path) => !existsSync(join(project.installed, dirname(page), path)))
        .map((path) => `${page}: ${path}`),
    )
    expect(pages.length).toBeGreaterThan(5)
    expect(broken).toEqual([])
  })

  it('has the command', async () => {
    const { bin, version } = JSON.parse(readFileSync(join(project.installed, 'package.json'), 'utf8')) as {
      readonly bin: { readonly meshwire: string }
      readonly version: string
    }
    expect(await project.node(join(project.installed, bin.meshwire), '--version')).toBe(`${version}\n`)
  })

  it('has every entry that is tested here', () => {
    const { exports } = JSON.parse(readFileSync(join(project.installed, 'package.json'), 'utf8')) as {
      readonly exports: Readonly<Record<string, unknown>>
    }
    const names = Object.keys(exports).map((path) => path.replace('.', 'meshwire'))
    expect(names.toSorted()).toEqual([...ENTRIES, 'meshwire/mxp', 'meshwire/package.json'].toSorted())
  })
})

describe('every entry', () => {
  it('is imported by a module, and works', async () => {
    const imports = NAMES.map((name, index) => `import { ${name} } from '${ENTRIES[index]}'`)
    await project.write('main.mjs', imports.join('\n') + PROGRAM)
    expect(await project.node('main.mjs')).toBe('42 meshwire.v1\n')
  })

  it('is required by a CommonJS script, and works', async () => {
    const requires = NAMES.map((name, index) => `const { ${name} } = require('${ENTRIES[index]}')`)
    await project.write('main.cjs', `${requires.join('\n')}${PROGRAM}`)
    expect(await project.node('main.cjs')).toBe('42 meshwire.v1\n')
  })
})

describe('meshwire/mxp', () => {
  it('is imported by a module, which has to be one: its checksum is compiled while it loads', async () => {
    await project.write(
      'mxp.mjs',
      `import { decode, encode, MXP_TYPES } from 'meshwire/mxp'
const message = { type: 'Ack', flags: 0, messageId: 1n, traceId: 2n, payload: new Uint8Array() }
console.log(decode(encode(message)).messageId, Object.keys(MXP_TYPES).length)`,
    )
    expect(await project.node('mxp.mjs')).toBe('1n 11\n')
    await project.write('mxp.cjs', "import('meshwire/mxp').then(({ encode }) => console.log(typeof encode))")
    expect(await project.node('mxp.cjs')).toBe('function\n')
  })
})

/** A user's program: what it says of types has to hold. */
const TYPED = `
import { type HubServer, startHub } from 'meshwire'
import { type Client, connect, MeshError, type StatusEvent } from 'meshwire/client'
import { decode, ERRORS } from 'meshwire/protocol'
import { startTestHub } from 'meshwire/testing'

export async function main(): Promise<number> {
  const hub: HubServer = await startHub({ port: 0, graceMs: 1000 })
  const client: Client = await connect({ url: hub.url, name: 'typed', capabilities: ['test'], onStatus: told })
  client.onMessage<{ n: number }>('query', ({ payload, from }, { signal }) => [payload.n, from, signal.aborted])
  const { id, recipients } = await client.send({ group: 'eu' }, { n: 1 }, { ttlMs: 1000 })
  const tests = await startTestHub({ maxAttempts: 2 })
  const fake = (await tests.fakeAgent()).reply<number>('query', ({ payload }) => payload + 1)
  const frames: Record<string, unknown>[] = decode(id)
  // @ts-expect-error a name is required
  await connect({ url: hub.url, capabilities: ['test'] }).catch((error) => error instanceof MeshError && error.code)
  // @ts-expect-error no such setting
  await startTestHub({ redisUrl: 'redis://127.0.0.1' })
  return recipients + fake.received.length + frames.length + Object.keys(ERRORS).length
}

function told(event: StatusEvent): void {
  if (event.type === 'waiting') console.log(event.delayMs, event.cause.reason)
}
`

/** The same for a page: no Node, no types of it. */
const TYPED_PAGE = `
import { type Client, connect } from 'meshwire/client'

export async function main(): Promise<string> {
  const client: Client = await connect({ url: 'wss://mesh.example/mesh', name: 'page', capabilities: ['test'] })
  for await (const token of client.requestStream<string>('model', 'hello')) document.body.append(token)
  return client.id ?? ''
}
`

describe('TypeScript', () => {
  const strict = { target: 'es2023', strict: true, exactOptionalPropertyTypes: true, noEmit: true }
  const library = ['es2023', 'esnext.disposable']
  const node = { lib: library, types: ['node'], skipLibCheck: true }

  it.each([
    ['nodenext', TYPED, { module: 'nodenext', moduleResolution: 'nodenext', ...node }],
    ['bundler', TYPED, { module: 'esnext', moduleResolution: 'bundler', ...node }],
    [
      'bundler, for a page, and every declaration it reaches',
      TYPED_PAGE,
      { module: 'esnext', moduleResolution: 'bundler', lib: [...library, 'dom', 'dom.iterable'], types: [] },
    ],
  ])('compiles a strict program with moduleResolution %s', async (title, program, options) => {
    const name = title.replaceAll(/\W/g, '-')
    await project.write(`${name}/main.mts`, program)
    const configuration = { compilerOptions: { ...strict, ...options }, include: ['main.mts'] }
    await project.write(`${name}/tsconfig.json`, JSON.stringify(configuration))
    const tsc = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc')
    expect(await project.node(tsc, '-p', name)).toBe('')
  })
})

describe('the examples of docs/testing.md', () => {
  const example = (language: string): string => {
    const page = readFileSync(join(project.installed, 'docs/testing.md'), 'utf8')
    return fencedBlocks(page, language)[0] ?? ''
  }

  it('pass with vitest', async () => {
    await project.write('package.json', '{"type":"module"}')
    await project.write('docs.test.ts', example('ts'))
    const vitest = join(project.folder, 'node_modules/vitest/vitest.mjs')
    const output = await project.node(vitest, 'run', '--reporter=json', 'docs.test.ts')
    expect(JSON.parse(output)).toMatchObject({ numPassedTests: 3, numTotalTests: 3, success: true })
  })

  it('pass with node:test', async () => {
    await project.write('docs.test.mjs', example('js'))
    expect(await project.node('--test', '--test-reporter=tap', 'docs.test.mjs')).toMatch(
      /^# pass 1$[^]*^# fail 0$/m,
    )
  })
})
