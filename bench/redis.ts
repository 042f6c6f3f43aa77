import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { cpuMsOf } from './child.ts'

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (typeof address !== 'object' || address === null) throw new Error('no free port')
  return address.port
}

/** A redis-server of the bench's own: nothing on disk, gone with the bench. */
export class PrivateRedis {
  readonly url: string
  readonly version: string
  readonly #process: ChildProcess
  readonly #connection: Redis
  readonly #directory: string

  private constructor(
    child: ChildProcess,
    connection: Redis,
    details: { url: string; version: string; directory: string },
  ) {
    this.#process = child
    this.#connection = connection
    this.url = details.url
    this.version = details.version
    this.#directory = details.directory
  }

  static async start(): Promise<PrivateRedis> {
    const finder = fileURLToPath(new URL('../scripts/redis-server.mjs', import.meta.url))
    const file =
      execFileSync(process.execPath, [finder], { encoding: 'utf8' }).trim().split('\n').at(-1) ??
      'redis-server'
    const port = await freePort()
    const directory = mkdtempSync(join(tmpdir(), 'meshwire-bench-'))
    const args = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      directory,
    ]
    const child = spawn(file, args, { stdio: 'ignore' })
    const url = `redis://127.0.0.1:${port}`
    const connection = new Redis(url, { retryStrategy: (times) => (times > 50 ? null : 100) })
    connection.on('error', () => {
      // Not up yet; when it never comes up, the command below is rejected.
    })
    const version = /redis_version:(\S+)/.exec(await connection.info('server'))?.[1] ?? 'unknown'
    return new PrivateRedis(child, connection, { url, version, directory })
  }

  async clear(): Promise<void> {
    await this.#connection.flushall()
  }

  /** Milliseconds of CPU since it started; NaN where the system does not tell. */
  cpuMs(): number {
    return cpuMsOf(this.#process)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.disconnect()
    const gone = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await gone
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
