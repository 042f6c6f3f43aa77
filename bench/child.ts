import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { FromLoad, FromServer, Job, JobResult, ToLoad, ToServer, Usage } from './jobs.ts'

function start(file: string, args: readonly string[], execArgv: readonly string[]): ChildProcess {
  return fork(fileURLToPath(new URL(file, import.meta.url)), args, {
    execArgv: [...process.execArgv, ...execArgv],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}

/**
 * Milliseconds of CPU that a process has used, read from outside: a busy one would answer late. NaN where the system does
 * not tell.
 */
export function cpuMsOf({ pid }: ChildProcess): number {
  try {
    // Fields 14 and 15, user and system time, in ticks of 10 ms; the command before them may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return Number.NaN
  }
}

/** The next message that `match` turns into something; rejects when the process ends first. */
function next<Result>(
  child: ChildProcess,
  match: (message: FromLoad | FromServer) => Result | null,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: unknown): void => {
      // Both ends are files of this folder: what arrives is what jobs.ts says.
      const result = match(message as FromLoad | FromServer)
      if (result === null) return
      child.off('message', onMessage)
      child.off('exit', onExit)
      resolve(result)
    }
    const onExit = (code: number | null, signal: string | null): void => {
      reject(new Error(`${child.spawnfile} ${child.spawnargs.at(-1)} ended early: ${signal ?? code}`))
    }
    child.on('message', onMessage)
    child.once('exit', onExit)
  })
}

async function stop(child: ChildProcess, message: ToServer | null): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
  })
  if (message === null) child.kill('SIGKILL')
  else child.send(message)
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await gone
  clearTimeout(timer)
}

/** One server under test, in a process of its own. */
export class Server {
  readonly url: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  /** Starts `file` with `args`; `profile` is the folder for its CPU profile, or null. */
  static async start(file: string, args: readonly string[], profile: string | null): Promise<Server> {
    const profiling = profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
    const child = start(file, args, ['--expose-gc', ...profiling])
    const url = await next(child, (message) =>
      message.type === 'ready' && 'url' in message ? message.url : null,
    )
    return new Server(child, url)
  }

  /** As of {@link cpuMsOf}; elsewhere only {@link usage} knows. */
  cpuMs(): number {
    return cpuMsOf(this.#child)
  }

  async usage(collectGarbage: boolean): Promise<Usage> {
    const usage = next(this.#child, (message) => (message.type === 'usage' ? message.usage : null))
    this.#child.send({ type: 'usage', collectGarbage } satisfies ToServer)
    return await usage
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child, { type: 'stop' })
  }
}

/** Has a new process do `job`; `onMark` is awaited at each of its marks. */
export async function runJob(
  job: Job,
  onMark: (name: string, collectGarbage: boolean) => Promise<void>,
): Promise<JobResult> {
  const child = start('load.ts', [], [])
  const tell = (message: ToLoad): void => {
    child.send(message)
  }
  try {
    await next(child, (message) => (message.type === 'ready' ? true : null))
    const result = next(child, (message) => (message.type === 'result' ? message.result : null))
    const marks = new Promise<never>((_resolve, reject) => {
      child.on('message', (message: FromLoad) => {
        if (message.type === 'mark')
          onMark(message.name, message.collectGarbage).then(() => tell({ type: 'go' }), reject)
      })
    })
    tell({ type: 'job', job })
    return await Promise.race([result, marks])
  } finally {
    await stop(child, null)
  }
}
