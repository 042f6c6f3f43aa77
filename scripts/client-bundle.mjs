// Writes the client of browsers as small modules: bundled and its internal names shortened by esbuild, minified by swc, which
// gives the same few names to the variables of every function and so makes a bundle that compresses better than esbuild's own.
//
// The parts that come later are a module of their own. Both share their shortened names, and nothing else: what it needs of the
// client's classes it is given, so its default export is a function of these. Its URL ends in what it holds, lest a page that has
// the new client takes old parts from a cache.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { minify } from '@swc/core'
import { build } from 'esbuild'
import { internalNames } from './internal-names.mjs'

/** The classes that a page sees, by the module that has each. */
const SHARED = {
  'protocol/errors.js': 'MeshError',
  'client/nack.js': 'Nack',
  'client/stream-error.js': 'StreamError',
}

/** Has these modules take their class from `classes`. */
const sharing = {
  name: 'sharing',
  setup({ onLoad }) {
    for (const [path, name] of Object.entries(SHARED)) {
      const filter = new RegExp(`/dist/${path.replaceAll('.', String.raw`\.`)}$`)
      onLoad({ filter }, () => ({ contents: `export const { ${name} } = classes` }))
    }
  },
}

/** A module as a function of the classes: its exports are what it answers. */
function asFunction(text, exported) {
  const [body, exports] = text.split(/^export \{([^}]*)\};$/m)
  if (exports?.trim() !== exported) throw new Error(`expected to find ${exported} exported, found ${exports}`)
  return `export default (classes) => {${body}; return ${exported}}`
}

async function squeeze(text) {
  const { code } = await minify(text, {
    module: true,
    toplevel: true,
    ecma: 2022,
    compress: { passes: 3 },
    mangle: { topLevel: true },
  })
  return code
}

/**
 * @param {string} project its TypeScript project, and `entry` a module there: what that exports keeps its names
 * @param {{ path: string, from: string }} page the client's file, and the module it is made of, which `tsc` has written
 * @param {{ path: string, from: string }} parts the same for its parts; `from` exports `createParts`
 */
export async function bundleClient(project, entry, page, parts) {
  const names = internalNames(project, entry).map((name) => name.replaceAll('$', String.raw`\$`))
  const bundle = async (from, mangleCache, plugins) => {
    const { outputFiles, ...result } = await build({
      entryPoints: [from],
      write: false,
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      mangleProps: new RegExp(`^(?:${names.join('|')})$`),
      mangleCache,
      plugins,
    })
    return { text: outputFiles[0].text, mangleCache: result.mangleCache }
  }

  const core = await bundle(page.from, {}, [])
  const rest = await bundle(parts.from, core.mangleCache, [sharing])
  const partsCode = await squeeze(asFunction(rest.text, 'createParts'))
  const version = createHash('sha256').update(partsCode).digest('base64url').slice(0, 8)
  const url = JSON.stringify(`./${basename(parts.path)}?${version}`)
  writeFileSync(parts.path, partsCode)
  writeFileSync(
    page.path,
    await squeeze(core.text.replaceAll('PARTS_URL', url).replaceAll('importModule(', 'import(')),
  )
}
