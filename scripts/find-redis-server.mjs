import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const REMEDY =
  'redis-server 7.0 or newer is needed for the tests: install it (apt-get install redis-server, brew install redis) or set REDIS_SERVER to its path'

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** @returns {string | null} */
function onPath() {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, 'redis-server')
    if (directory !== '' && isExecutable(path)) return path
  }
  return null
}

/**
 * Installs it where that can be done without asking.
 * @returns {boolean} whether it was tried
 */
function install() {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return false
  const options = {
    stdio: /** @type {const} */ ('ignore'),
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  }
  try {
    execFileSync('apt-get', ['update'], options)
    execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', 'redis-server'], options)
  } catch (cause) {
    throw new Error(REMEDY, { cause })
  }
  return true
}

/**
 * The path of a redis-server: REDIS_SERVER, else the one on PATH, else a newly installed one.
 * @returns {string}
 * @throws {Error} with one line that says how to install it
 */
export function findRedisServer() {
  const named = process.env['REDIS_SERVER']
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named
    throw new Error(
      `REDIS_SERVER is "${named}", which is no executable file: set it to the path of a redis-server`,
    )
  }
  const found = onPath() ?? (install() ? onPath() : null)
  if (found === null) throw new Error(REMEDY)
  return found
}
