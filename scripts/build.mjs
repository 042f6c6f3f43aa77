// Builds dist/: the hub and the Node client, the browser client, and the Lua scripts beside the code that loads them.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleClient } from './client-bundle.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')

rmSync('dist', { recursive: true, force: true })
for (const project of ['tsconfig.build.json', 'client/tsconfig.json']) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
cpSync('src/core/redis/lua', 'dist/src/core/redis/lua', { recursive: true })
await bundleClient(
  'client/tsconfig.json',
  'client/index.ts',
  { path: 'dist/client.min.js', from: 'dist/client/page.js' },
  { path: 'dist/client-parts.min.js', from: 'dist/client/parts.js' },
)
// Only a bundle of it can be used.
for (const path of ['page.js', 'page.d.ts']) rmSync(`dist/client/${path}`)
// npm does so only where it makes a link anew: a build in a folder that is linked already would leave a command that nobody may run.
chmodSync('dist/src/cli/main.js', 0o755)
