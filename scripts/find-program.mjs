import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * @param {readonly string[]} names
 * @returns {string | null}
 */
function onPath(names) {
  for (const name of names) {
    for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
      const path = join(directory, name)
      if (directory !== '' && isExecutable(path)) return path
    }
  }
  return null
}

/**
 * Installs it where that can be done without asking.
 * @param {string} debianPackage
 * @param {string} remedy
 * @returns {boolean} whether it was tried
 */
function install(debianPackage, remedy) {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return false
  const options = {
    stdio: /** @type {const} */ ('ignore'),
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  }
  try {
    execFileSync('apt-get', ['update'], options)
    execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', debianPackage], options)
  } catch (cause) {
    throw new Error(remedy, { cause })
  }
  return true
}

/**
 * The path of a program the tests need: the one that `variable` of the environment names, else the first of `names` on PATH, else
 * a newly installed `debianPackage`.
 * @param {{ variable: string, names: readonly string[], debianPackage: string, remedy: string }} program
 * @returns {string}
 * @throws {Error} with one line that says how to install it
 */
export function findProgram({ variable, names, debianPackage, remedy }) {
  const named = process.env[variable]
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named
    throw new Error(
      `${variable} is "${named}", which is no executable file: set it to the path of a ${names[0]}`,
    )
  }
  const found = onPath(names) ?? (install(debianPackage, remedy) ? onPath(names) : null)
  if (found === null) throw new Error(remedy)
  return found
}

/**
 * Prints a path, or the one line that says why there is none.
 * @param {() => string} find
 */
export function printPath(find) {
  try {
    console.log(find())
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
