import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = new URL('../../', import.meta.url)

/** When the newest file under these was written, in milliseconds of the Unix epoch. */
function newest(...folders: readonly string[]): number {
  const times = folders.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: 'utf8' }).map(
      (path) => statSync(new URL(`${folder}/${path}`, ROOT)).mtimeMs,
    ),
  )
  return Math.max(...times)
}

/**
 * Global setup: what users run (examples, README, the command) is run by the tests as it is published, from dist/. `npm test`
 * has built it; a bare `vitest run` builds it here where there is none or it is older than what it is made of, once for all files.
 */
export default function buildWhereOld(): void {
  const built = new URL('dist/client.min.js', ROOT)
  if (existsSync(built) && statSync(built).mtimeMs > newest('src', 'client', 'protocol')) return
  execFileSync(process.execPath, [fileURLToPath(new URL('scripts/build.mjs', ROOT))], { stdio: 'inherit' })
}
