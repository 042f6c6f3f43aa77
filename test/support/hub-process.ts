import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const START_TIMEOUT_MS = 20_000
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** A hub in a process of its own, started by the command line. */
export interface HubProcess {
  readonly url: string
  readonly id: string
  /** Resident memory now, in MiB. */
  rssMiB(): Promise<number>
  /** Ends it like a crash: nothing is told to anybody. */
  kill(): Promise<void>
  /** SIGTERM: it drains; resolves when it has ended. */
  drain(): Promise<void>
  /** SIGSTOP: it stays connected and does nothing, until `thaw`. */
  freeze(): void
  thaw(): void
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
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, 'start', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // A test process that gives up must not leave a hub behind.
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  child.once('exit', () => process.off('exit', killNow))
  const line = await firstLine(child)
  const [, id = '', url = ''] = /hub (\S+) listens on (\S+)/.exec(line) ?? []
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }
  const kill = (): Promise<void> => end('SIGKILL')
  const rssMiB = async (): Promise<number> => {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)])
    return Number(stdout) / 1024
  }
  return {
    url,
    id,
    rssMiB,
    kill,
    drain: () => end('SIGTERM'),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    [Symbol.asyncDispose]: kill,
  }
}
