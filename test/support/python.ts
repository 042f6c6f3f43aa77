import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Ended, ROOT } from './run.ts'

/** Where a Python may be: the one of the path, or that of the system, for which distributions have packages. */
const COMMANDS = ['python3', '/usr/bin/python3'] as const

/** The first Python, 3.9 or later, that has `websockets`; null where there is none. */
export function findPython(): string | null {
  const probe = 'import sys, websockets; sys.exit(sys.version_info < (3, 9))'
  return COMMANDS.find((command) => spawnSync(command, ['-c', probe]).status === 0) ?? null
}

/** Runs a program with mesh_client.py at hand to its end. */
export async function runPython(
  command: string,
  program: string,
  ...args: readonly string[]
): Promise<Ended> {
  // A folder of the package must not get a cache.
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' }
  const child = spawn(command, ['-', ...args], { cwd: join(ROOT, 'examples', 'python'), env })
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  child.stdin.end(program)
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  process.off('exit', killNow)
  return { code: code as number | null, output, errors }
}
