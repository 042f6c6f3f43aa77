import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { COMMAND } from './built.ts'

const START_TIMEOUT_MS = 20_000

/** A hub in a process of its own, started by the command line. */
export interface HubProcess {
  readonly url: string
  readonly id: string
  /** Resident memory now, in MiB. */
  rssMiB(): Promise<number>
  readonly pid: number
  /** Ends it like a crash: nothing is told to anybody. */
  kill(): Promise<void>
  /** Asks it to end; resolves with its exit code when it has, null where a signal ended it. */
  terminate(signal?: 'SIGTERM' | 'SIGINT'): Promise<number | null>
  /** It stays connected and does nothing, until `resume`. */
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let out = ''
    let err = ''
    const timer = setTimeout(
      () => reject(new Error(`no hub in ${START_TIMEOUT_MS} ms: ${err}`)),
      START_TIMEOUT_MS,
    )
    child.stderr?.on('data', (text: Buffer) => (err += text.toString()))
    child.stdout?.on('data', (text: Buffer) => {
      out += text.toString()
      if (!out.includes('\n')) return
      clearTimeout(timer)
      resolve(out)
    })
    child.once('exit', (code) => {
      clearTimeout(timer)
      reject(new Error(`the hub ended with ${code}: ${err}`))
    })
  })
}

/** `meshwire start --port 0` and these flags; answers when it listens. */
export async function startHubProcess(flags: Readonly<Record<string, string | number>>): Promise<HubProcess> {
  const args = Object.entries({ '--port': 0, '--log-level': 'silent', ...flags }).flatMap(([flag, value]) => [
    flag,
    String(value),
  ])
  const child = spawn(process.execPath, [COMMAND, 'start', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const line = await firstLine(child)
  const [, id = '', url = ''] = /hub (\S+) listens on (\S+)/.exec(line) ?? []
  // A test process that gives up must not leave a hub behind.
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  child.once('exit', () => process.off('exit', killNow))
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
  const terminate = async (signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.kill(signal)
      await exit
    }
    return child.exitCode
  }
  const rssMiB = async (): Promise<number> => {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)])
    return Number(stdout) / 1024
  }
  return {
    url,
    id,
    pid: child.pid ?? 0,
    rssMiB,
    kill,
    terminate,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    [Symbol.asyncDispose]: kill,
  }
}
