import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { endRedis, freePort, launchRedis, type RedisFlags } from './redis.ts'
import { pollUntil } from './poll-until.ts'

const SENTINELS = 3
const DOWN_AFTER_MS = 1_000
const TIMEOUT_MS = 20_000

/** A redis-server of these, or a Sentinel. */
export interface SentinelServer {
  readonly port: number
  readonly client: Redis
  kill(): Promise<void>
  /** Starts it again after `kill`, empty: as the replica of that port. A Sentinel knows what it knew. */
  restart(primaryPort: number | null): Promise<void>
  pause(): void
  resume(): void
}

/** A primary with a replica, watched by three Sentinels. */
export interface RedisWithSentinels {
  readonly url: string
  readonly primary: SentinelServer
  readonly replica: SentinelServer
  readonly sentinels: readonly SentinelServer[]
  readonly sentinelPorts: readonly number[]
  /** The port of whom the Sentinels call the primary. */
  primaryPort(): Promise<number>
  stop(): Promise<void>
}

const until = (what: string, holds: () => Promise<boolean>): Promise<void> =>
  pollUntil(holds, TIMEOUT_MS, `the Sentinels do not come to this: ${what}`)

/** Starts a primary, a replica, both with these flags, and three Sentinels on free ports. */
export async function startSentinels(flags: RedisFlags = {}): Promise<RedisWithSentinels> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-sentinel-'))
  const ends: (() => Promise<void>)[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(ends.map((end) => end()))
    await rm(directory, { recursive: true, force: true })
  }
  const place = async (port: number): Promise<string> => {
    const own = join(directory, String(port))
    await mkdir(own)
    return own
  }
  const start = async (own: RedisFlags, config: string | null): Promise<SentinelServer> => {
    const port = await freePort()
    const directory = await place(port)
    const file = join(directory, 'sentinel.conf')
    if (config !== null) await writeFile(file, `port ${port}\nbind 127.0.0.1\ndir ${directory}\n${config}`)
    const launch = (given: RedisFlags): Promise<ChildProcess> =>
      launchRedis(port, directory, given, config === null ? [] : [file, '--sentinel'])
    let child = await launch(own)
    const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null })
    client.on('error', () => undefined)
    ends.push(async () => {
      client.disconnect()
      await endRedis(child, 'SIGKILL')
    })
    return {
      port,
      client,
      kill: () => endRedis(child, 'SIGKILL'),
      restart: async (primaryPort) => {
        const { replicaof: _, ...rest } = own
        child = await launch(primaryPort === null ? rest : { ...rest, replicaof: `127.0.0.1 ${primaryPort}` })
      },
      pause: () => void child.kill('SIGSTOP'),
      resume: () => void child.kill('SIGCONT'),
    }
  }
  try {
    const fast = { ...flags, 'repl-diskless-sync-delay': 0, 'repl-ping-replica-period': 1 }
    const primary = await start(fast, null)
    const replica = await start({ ...fast, replicaof: `127.0.0.1 ${primary.port}` }, null)
    await until('the replica is in sync', async () =>
      (await replica.client.info('replication')).includes('master_link_status:up'),
    )
    const config = [
      `sentinel monitor mymaster 127.0.0.1 ${primary.port} 2`,
      `sentinel down-after-milliseconds mymaster ${DOWN_AFTER_MS}`,
      'sentinel failover-timeout mymaster 4000',
      'sentinel parallel-syncs mymaster 1',
      '',
    ].join('\n')
    const sentinels = await Promise.all(Array.from({ length: SENTINELS }, () => start({}, config)))
    const asked = sentinels[0] as SentinelServer
    for (const { client } of sentinels) {
      await until('all know all', async () => {
        const fields = (await client.call('SENTINEL', 'MASTER', 'mymaster')) as string[]
        const value = (name: string): number => Number(fields[fields.indexOf(name) + 1])
        return value('num-other-sentinels') === SENTINELS - 1 && value('num-slaves') === 1
      })
    }
    return {
      url: `redis-sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/mymaster`,
      primary,
      replica,
      sentinels,
      sentinelPorts: sentinels.map(({ port }) => port),
      async primaryPort() {
        const [, port] = (await asked.client.call(
          'SENTINEL',
          'GET-MASTER-ADDR-BY-NAME',
          'mymaster',
        )) as string[]
        return Number(port)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
