import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findRedisServer } from '../../scripts/find-redis-server.mjs'

const START_TIMEOUT_MS = 10_000

/** A redis-server of its own, empty, and without persistence where nothing else is asked for. */
export interface RedisServer {
  readonly url: string
  readonly port: number
  /** Ends it and removes its directory. */
  stop(): Promise<void>
  /** Ends it like a crash; what it held is lost. */
  kill(): Promise<void>
  /** Starts it again on the same port, after `kill`; empty, where nothing else was asked for. */
  restart(): Promise<void>
  /** It stays connected and does nothing, until `resume`. */
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

export async function freePort(): Promise<number> {
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

// A test process that gives up before `stop` must not leave a server behind.
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Flags of redis-server, without the dashes; several values with spaces between. */
export type RedisFlags = Readonly<Record<string, string | number>>

/** Starts redis-server with these flags, and waits until it answers on `port`; its TLS port needs no TLS to be tried. */
export async function launchRedis(
  port: number,
  directory: string,
  flags: RedisFlags = {},
  configFile: readonly string[] = [],
): Promise<ChildProcess> {
  const all =
    configFile.length > 0
      ? flags
      : { port, bind: '127.0.0.1', save: '', appendonly: 'no', dir: directory, ...flags }
  const args = Object.entries(all).flatMap(([flag, value]) => [`--${flag}`, ...String(value).split(' ')])
  const child = spawn(findRedisServer(), [...configFile, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  child.once('exit', () => running.delete(child))
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

export async function endRedis(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  // A paused process takes a SIGTERM only after it goes on.
  child.kill('SIGCONT')
  child.kill(signal)
  await exit
}

/** Starts a real redis-server on a free port, and answers when it serves. With `appendonly yes` a restart loses nothing. */
export async function startRedis(flags: RedisFlags = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-redis-'))
  const port = await freePort()
  let child = await launchRedis(port, directory, flags)
  const stop = async (): Promise<void> => {
    await endRedis(child, 'SIGTERM')
    await rm(directory, { recursive: true, force: true })
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop,
    kill: () => endRedis(child, 'SIGKILL'),
    restart: async () => {
      await endRedis(child, 'SIGKILL')
      child = await launchRedis(port, directory, flags)
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    [Symbol.asyncDispose]: stop,
  }
}
