import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join, relative } from 'node:path'
import { build as esbuild } from 'esbuild'
import { build as vite } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestHub } from '../../src/testing/index.ts'
import { installPacked, type Packed } from '../support/packed.ts'

let project: Packed
beforeAll(async () => {
  project = await installPacked()
  await project.write('index.html', '<!doctype html><script type="module" src="/app.js"></script>')
  await project.write(
    'app.js',
    `import { connect, MeshError } from 'meshwire/client'
    const client = await connect({ url: globalThis.hubUrl, name: 'page', capabilities: ['test'] })
    const { payload } = await client.request('echo', 'hello')
    const failure = await client.send('nobody', 1).catch((error) => error)
    console.log(payload, failure instanceof MeshError)
    await client.close()`,
  )
})
afterAll(async () => project[Symbol.asyncDispose]())

/** What no browser has, as it would be named in a bundle. */
const FOREIGN = new RegExp(
  String.raw`\b(?:from|import|require\()\s*["'](?:node:|ws["']|(?:${builtinModules.join('|')})["'])|__vite-browser-external`,
)

/** Runs a bundle where there is a global WebSocket and nothing of Node is asked for; what it prints. */
async function run(file: string): Promise<string> {
  await using hub = await startTestHub()
  const echo = await hub.fakeAgent({ name: 'echo' })
  echo.reply('query', ({ payload }) => payload)
  const url = `data:text/javascript,globalThis.hubUrl=${JSON.stringify(hub.url)}`
  // Not before it has ended is the hub closed.
  return await project.node('--experimental-websocket', '--no-warnings', '--import', url, file)
}

describe('a browser app with meshwire/client', () => {
  it('is bundled by esbuild without ws and without anything of Node, and works', async () => {
    const outfile = join(project.folder, 'esbuild.mjs')
    const { metafile } = await esbuild({
      absWorkingDir: project.folder,
      entryPoints: ['app.js'],
      outfile,
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      metafile: true,
    })
    const packages = Object.keys(metafile.inputs).map((path) => relative('node_modules', path).split('/')[0])
    expect(new Set(packages)).toEqual(new Set(['meshwire', '..']))
    expect(Object.keys(metafile.inputs)).toContain('node_modules/meshwire/dist/client/index.js')
    expect(readFileSync(outfile, 'utf8')).not.toMatch(FOREIGN)
    // What Node gets instead would be found out.
    expect(readFileSync(join(project.installed, 'dist/client/node.js'), 'utf8')).toMatch(FOREIGN)
    expect(await run(outfile)).toBe('hello true\n')
  })

  it('is bundled by Vite without ws and without anything of Node, and works', async () => {
    await vite({
      root: project.folder,
      configFile: false,
      logLevel: 'error',
      // Its polyfill is for pages, and this one is run without.
      build: { outDir: 'vite', target: 'es2022', modulePreload: false },
    })
    const assets = join(project.folder, 'vite', 'assets')
    const [script = '', ...more] = readdirSync(assets)
    expect(more).toEqual([])
    expect(readFileSync(join(assets, script), 'utf8')).not.toMatch(FOREIGN)
    await project.write('vite/package.json', '{"type":"module"}')
    expect(await run(join(assets, script))).toBe('hello true\n')
  })
})
