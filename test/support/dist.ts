import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Global setup: what users run (examples, README, the command) is run by the tests as it is published, from dist/. `npm test`
 * has built it; a bare `vitest run` builds it here where there is none, once for all files.
 */
export default function buildWhereMissing(): void {
  const built = new URL('../../dist/src/server.js', import.meta.url)
  if (existsSync(built)) return
  const script = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url))
  execFileSync(process.execPath, [script], { stdio: 'inherit' })
}
