import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { connect, type Client } from '../../client/node.ts'
import { ask, end, forkModule, told } from '../support/child.ts'
import { startRedis } from '../support/redis.ts'
import type { FleetReport } from './fleet.ts'
import type { AcceptedReport } from './hub.ts'

export interface StormOptions {
  /** Clients whose hub restarts. */
  readonly clients: number
  /** Handshakes that the hub takes in a second afterwards. */
  readonly handshakesPerSecond: number
  /** Clients on the hub from before the storm, which go on asking it. */
  readonly probes: number
  /** Milliseconds after which whoever is not back counts as starved. */
  readonly withinMs: number
}

export interface StormResult {
  /** How many were not back in time. */
  readonly starved: number
  /** Milliseconds from the end of the old hub until half, 99 of 100, all were back. */
  readonly backMs: { readonly p50: number; readonly p99: number; readonly max: number }
  /** Tries answered 503 with `Retry-After`. */
  readonly busy: number
  /** The most handshakes accepted in any 100 ms, and which part of the fleet that is. */
  readonly peak: number
  readonly peakShare: number
  /** Milliseconds that an answer took the hub's other clients meanwhile. */
  readonly answerMs: {
    readonly count: number
    readonly p50: number
    readonly p99: number
    readonly max: number
  }
}

const FLEETS = 2
const PROBE_EVERY_MS = 20

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN

/** The most of `times` in any span of `ms`. */
export function peakIn(times: readonly number[], ms: number): number {
  let first = 0
  let peak = 0
  times.forEach((time, i) => {
    while (time - (times[first] ?? 0) >= ms) first++
    peak = Math.max(peak, i - first + 1)
  })
  return peak
}

/** Asks the hub again and again until `done`; answers how long each answer took, in milliseconds. */
async function probe(client: Client, done: () => boolean): Promise<number[]> {
  const took: number[] = []
  while (!done()) {
    const begun = performance.now()
    await client.leader()
    took.push(performance.now() - begun)
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS))
  }
  return took
}

/**
 * A fleet of bundled clients on real sockets loses its hub, by SIGKILL, and comes back to a new one on the same port, which has other
 * clients already. Hub and fleet are processes of their own, on a Redis of their own.
 */
export async function runStorm(options: StormOptions): Promise<StormResult> {
  const { clients, handshakesPerSecond, probes, withinMs } = options
  await using redis = await startRedis()
  const children: ChildProcess[] = []
  const start = (name: string, ...args: string[]): ChildProcess => {
    const child = forkModule(fileURLToPath(new URL(`./${name}.ts`, import.meta.url)), args)
    children.push(child)
    return child
  }
  try {
    // A real fleet comes from many addresses.
    const settings = { port: 0, redisUrl: redis.url, logLevel: 'silent', addressHandshakesPerSecond: 0 }
    const old = start('hub', JSON.stringify({ ...settings, handshakesPerSecond: 0 }))
    const { url } = await told<{ url: string }>(old)
    const each = Math.ceil(clients / FLEETS)
    const fleets = Array.from({ length: FLEETS }, (_, i) =>
      start('fleet', url, String(Math.min(each, clients - i * each)), String(i * each)),
    )
    await Promise.all(fleets.map((fleet) => told(fleet)))

    await end(old)
    const begun = Date.now()
    const hub = start(
      'hub',
      JSON.stringify({ ...settings, port: Number(new URL(url).port), handshakesPerSecond }),
    )
    await told(hub)
    const asking = await Promise.all(
      Array.from({ length: probes }, (_, i) =>
        connect({ url, name: `probe-${i}`, capabilities: ['asking'] }),
      ),
    )
    const back: number[] = []
    let busy = 0
    const storm = { over: false }
    const answers = Promise.all(asking.map((client) => probe(client, () => storm.over)))
    let lost = clients
    while (lost > 0 && Date.now() - begun < withinMs) {
      await new Promise((resolve) => setTimeout(resolve, 200))
      const reports = await Promise.all(fleets.map((fleet) => ask<FleetReport>(fleet)))
      for (const report of reports) {
        for (const at of report.back) back.push(at - begun)
        busy += report.busy
      }
      lost = reports.reduce((sum, report) => sum + report.lost, 0)
    }
    storm.over = true
    const took = (await answers).flat().toSorted((a, b) => a - b)
    const { accepted } = await ask<AcceptedReport>(hub)
    await Promise.all(asking.map((client) => client.close()))
    back.sort((a, b) => a - b)
    const peak = peakIn(accepted, 100)
    return {
      starved: lost,
      backMs: { p50: quantile(back, 0.5), p99: quantile(back, 0.99), max: back.at(-1) ?? Number.NaN },
      busy,
      peak,
      peakShare: peak / clients,
      answerMs: {
        count: took.length,
        p50: quantile(took, 0.5),
        p99: quantile(took, 0.99),
        max: took.at(-1) ?? Number.NaN,
      },
    }
  } finally {
    await Promise.all(children.map((child) => end(child)))
  }
}
