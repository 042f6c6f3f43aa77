// Packs the package as it would be published and checks its exports and its types as others would find them.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

const directory = mkdtempSync(join(tmpdir(), 'meshwire-pack-'))
const run = (command, args) => execFileSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
try {
  run(process.execPath, ['scripts/build.mjs'])
  run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', directory])
  const tarball = join(directory, readdirSync(directory)[0])
  run(join('node_modules', '.bin', 'publint'), ['run', tarball, '--strict'])
  // The package is ESM only, and ./package.json has no types to be wrong.
  run(join('node_modules', '.bin', 'attw'), [
    tarball,
    '--profile',
    'esm-only',
    '--no-emoji',
    '--exclude-entrypoints',
    './package.json',
  ])
} catch (error) {
  process.exitCode = error.status || 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
