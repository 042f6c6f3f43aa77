import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

/** The package's folder. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** How a process ended, and what it wrote. */
export interface Ended {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

/** The environment without what would change how hub or examples run. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(?:MESHWIRE_|DEMO_|REDIS_URL$|NODE_OPTIONS$|VITEST)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}

/** A running process. A test that fails while it runs must not leave it behind: `await using` kills it. */
export interface Running extends AsyncDisposable {
  readonly child: ChildProcessWithoutNullStreams
}

/** Starts Node in the package's folder, with `env` on top of a plain environment. */
export function startNode(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...plainEnvironment(), ...env } })
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  const exit = once(child, 'exit')
  child.once('exit', () => process.off('exit', killNow))
  return {
    child,
    async [Symbol.asyncDispose]() {
      killNow()
      await exit
    },
  }
}

/** Runs Node to its end; `input` is its standard input. */
export async function runNode(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input = '',
): Promise<Ended> {
  await using running = startNode(args, env)
  const { child } = running
  child.stdin.end(input)
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: code as number | null, output, errors }
}
