import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findRedisServer } from '../../scripts/find-redis-server.mjs'

const START_TIMEOUT_MS = 10_000

export interface RedisServerOptions {
  /** Every write is on the disk before it is answered (`appendfsync always`); default: nothing ever is. */
  readonly durable?: boolean
}

/** A redis-server of its own, at first empty. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  /** Ends it and removes its directory. */
  stop(): Promise<void>
  /** Ends it like a crash; what it held is lost unless it is durable. */
  kill(): Promise<void>
  /** Starts it again on the same port, after `kill`, with what was on the disk. */
  restart(): Promise<void>
  /** It stays connected and does nothing, until `resume`. */
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Whether a server on `port` answers PING. */
async function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    const finish = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    socket.once('data', (answer) => finish(answer.toString().startsWith('+PONG')))
    socket.once('error', () => finish(false))
  })
}

async function launch(port: number, directory: string, durable: boolean): Promise<ChildProcess> {
  const flags = {
    '--port': String(port),
    '--bind': '127.0.0.1',
    '--save': '',
    '--appendonly': durable ? 'yes' : 'no',
    '--appendfsync': 'always',
    '--dir': directory,
  }
  const child = spawn(findRedisServer(), Object.entries(flags).flat(), { stdio: ['ignore', 'pipe', 'pipe'] })
  // A test process that gives up before `stop` must not leave a server behind.
  const killNow = (): void => void child.kill('SIGKILL')
  process.once('exit', killNow)
  child.once('exit', () => process.off('exit', killNow))
  let log = ''
  child.stdout.on('data', (text: Buffer) => (log += text.toString()))
  child.stderr.on('data', (text: Buffer) => (log += text.toString()))
  const deadline = Date.now() + START_TIMEOUT_MS
  // The log says "Ready to accept connections" in words that differ between versions; PING does not.
  while (!(await answersPing(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`redis-server did not start on port ${port}: ${log.slice(-2000)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return child
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  // A paused process takes a SIGTERM only after it goes on.
  child.kill('SIGCONT')
  child.kill(signal)
  await exit
}

/** Starts a real redis-server on a free port, and answers when it serves. */
export async function startRedis({ durable = false }: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-redis-'))
  const port = await freePort()
  let child = await launch(port, directory, durable)
  const stop = async (): Promise<void> => {
    await end(child, 'SIGTERM')
    await rm(directory, { recursive: true, force: true })
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop,
    kill: () => end(child, 'SIGKILL'),
    restart: async () => {
      await end(child, 'SIGKILL')
      child = await launch(port, directory, durable)
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    [Symbol.asyncDispose]: stop,
  }
}
