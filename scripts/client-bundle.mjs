// Writes the client of browsers as one small module: bundled and its internal names shortened by esbuild, minified by swc, which
// gives the same few names to the variables of every function and so makes a bundle that compresses better than esbuild's own.
import { writeFileSync } from 'node:fs'
import { minify } from '@swc/core'
import { build } from 'esbuild'
import { internalNames } from './internal-names.mjs'

/** @param {string} entry its TypeScript; what `tsc` made of it has to be in dist/ already */
export async function bundleClient(project, entry, outfile) {
  const names = internalNames(project, entry).map((name) => name.replaceAll('$', String.raw`\$`))
  const { outputFiles } = await build({
    entryPoints: [`dist/${entry.replace(/\.ts$/, '.js')}`],
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    mangleProps: new RegExp(`^(?:${names.join('|')})$`),
  })
  const options = {
    module: true,
    toplevel: true,
    ecma: 2022,
    compress: { passes: 3 },
    mangle: { topLevel: true },
  }
  const { code } = await minify(outputFiles[0].text, options)
  writeFileSync(outfile, code)
}
