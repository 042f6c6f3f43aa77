import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { CORE_LIMITS } from '../support/core.ts'
import { ask, end, forkModule, told } from '../support/child.ts'
import { startRedis } from '../support/redis.ts'
import type { Usage } from './hub.ts'
import { Traffic, type Counts } from './traffic.ts'

export interface SoakOptions {
  readonly minutes: number
  /** Told how far it is. */
  readonly progress?: (line: string) => void
}

/** One thing measured, before and after. */
export interface Row {
  readonly what: string
  readonly before: number
  readonly after: number
  /** What `after` may be. */
  readonly limit: number
}

export interface SoakResult {
  readonly rows: readonly Row[]
  readonly counts: Counts
  /** Messages stored and never handled. */
  readonly missing: number
  readonly kills: number
}

const HUB = fileURLToPath(new URL('./hub.ts', import.meta.url))
const WARM_UP_MS = 15_000
const KILL_EVERY_MS = 12_000
/** Short, so that what time does has been done when the end is measured. */
const TIMES = { graceMs: 3_000, retentionMs: 2_000, hubLeaseMs: 2_000, hubGraceMs: 2_000 }
/** Small, so that they are full from the warm-up on. */
const LIMITS = { eventsMax: 500, broadcastMax: 50, deadMax: 100 }

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Store {
  readonly keys: number
  readonly memoryMiB: number
}

/**
 * Three hubs on a Redis of their own, under everything that agents do, one of them killed or restarted again and again. The two that
 * live on are measured without any agent, after a first run that fills what is filled once, and at the end.
 */
export async function runSoak({ minutes, progress = () => undefined }: SoakOptions): Promise<SoakResult> {
  await using redis = await startRedis()
  const settings = {
    redisUrl: redis.url,
    logLevel: 'silent',
    handshakesPerSecond: 0,
    addressHandshakesPerSecond: 0,
    ...TIMES,
    ...LIMITS,
  }
  const hubs: ChildProcess[] = []
  const start = async (index: number, port: number): Promise<string> => {
    const hub = forkModule(HUB, [JSON.stringify({ ...settings, port })], ['--expose-gc'])
    hubs[index] = hub
    return (await told<{ url: string }>(hub)).url
  }
  const client = new Redis(redis.url)
  const core = await connectRedisCore({ url: redis.url, keyPrefix: 'mesh', limits: CORE_LIMITS })

  const measureStore = async (): Promise<Store> => ({
    keys: await client.dbsize(),
    memoryMiB: Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]) / 1_048_576,
  })
  /** Waits until nobody is registered and the dead hubs are buried. */
  const quiet = async (): Promise<void> => {
    const deadline = Date.now() + 60_000
    for (;;) {
      const { agents } = await core.registry.snapshot('default')
      if (agents.length === 0 && (await client.zcard('mesh:{hubs}')) === hubs.length) break
      if (Date.now() > deadline) throw new Error(`${agents.length} agents are still registered`)
      await pause(200)
    }
    await pause(2_000)
  }

  try {
    const urls: string[] = []
    for (let i = 0; i < 3; i++) urls.push(await start(i, 0))
    const measureHubs = (): Promise<Usage[]> => Promise.all(hubs.slice(0, 2).map((hub) => ask<Usage>(hub)))

    progress('warming up')
    const warm = new Traffic(urls, 'warm')
    await warm.start()
    await pause(WARM_UP_MS)
    await warm.stop()
    await quiet()
    const usageBefore = await measureHubs()
    const storeBefore = await measureStore()

    const traffic = new Traffic(urls, 'soak')
    await traffic.start()
    let kills = 0
    for (const until = Date.now() + minutes * 60_000; Date.now() < until;) {
      await pause(Math.min(KILL_EVERY_MS, until - Date.now()))
      const hub = hubs[2]
      if (Date.now() >= until || !hub) break
      await end(hub, kills % 2 === 0 ? 'SIGKILL' : 'SIGTERM')
      await start(2, Number(new URL(urls[2] ?? '').port))
      kills++
      progress(`${traffic.counts.handled} messages handled, ${kills} hubs ended`)
    }
    const missing = await traffic.stop()
    await quiet()
    const usageAfter = await measureHubs()
    const storeAfter = await measureStore()

    const rows: Row[] = []
    usageBefore.forEach((before, i) => {
      const after = usageAfter[i] as Usage
      const row = (what: string, unit: keyof Usage, limit: number): void =>
        void rows.push({ what: `hub ${i + 1}: ${what}`, before: before[unit], after: after[unit], limit })
      row('heap, MiB', 'heapMiB', before.heapMiB * 1.2 + 6)
      row('resident memory, MiB', 'rssMiB', before.rssMiB * 1.3 + 40)
      row('handles', 'handles', before.handles + 4)
      row('open files', 'files', before.files + 4)
    })
    const { keys, memoryMiB } = storeBefore
    rows.push({ what: 'Redis: keys', before: keys, after: storeAfter.keys, limit: keys + 2 })
    rows.push({
      what: 'Redis: memory, MiB',
      before: memoryMiB,
      after: storeAfter.memoryMiB,
      limit: memoryMiB * 1.2 + 1,
    })
    return { rows, counts: traffic.counts, missing, kills }
  } finally {
    await Promise.all(hubs.map((hub) => end(hub)))
    await core.close()
    client.disconnect()
  }
}
