import { existsSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { BROADCASTS_UNDER_WAY } from './broadcast.ts'
import { runJob, Server } from './child.ts'
import type { Job, JobResult, Usage } from './jobs.ts'
import { type Contender, type Options, parseOptions, type Part } from './options.ts'
import { PrivateRedis } from './redis.ts'
import { type Cost, count, doubts, type Figures, ratios, table } from './report.ts'

const FILES: Readonly<Record<Contender, string>> = {
  relay: 'relay.ts',
  'relay-redis': 'relay.ts',
  hub: 'hub.ts',
  'hub-redis': 'hub.ts',
}

const QUEUE_WINDOW = 256

const usesRedis = (contender: Contender): boolean => contender.endsWith('redis')
const isHub = (contender: Contender): boolean => contender.startsWith('hub')

function definitions(options: Options): string {
  const { agents, payloadBytes, receivers, connections, registered } = options
  return `Messages: ${agents} agents on sockets of their own, each sending to all others in turn, ${payloadBytes}-byte payloads.
A message is under way from its send until its sender has "ok" and its receiver has it and acknowledges it; each
sender has at most "window" messages under way (above 1, all windows are filled again when an eighth is free).
Measured from the first send until the last message has completed; latency is from send to receiver. The first relay
stores nothing; the second does one XADD before "ok" and one XDEL at the acknowledgement.
Work queue: the same, but each message goes to the capability that all agents have, each taking 64 at once; window ${QUEUE_WINDOW}.
Broadcasts: one agent to ${count(receivers)} others, ${BROADCASTS_UNDER_WAY} under way; the relays loop over ws.send.
RSS: what ${count(connections)} connections add to the server, after a garbage collection.
Registry: with ${count(registered)} agents registered, one request after the other; discover in turn by capability
(1 % match), by name, and by two capabilities and metadata, at most 20 results, asked 10,000 times by a process of its own.
The load generator is one process, the same for all.`
}

function machine(redis: PrivateRedis | null): string {
  const [cpu] = cpus()
  const facts = [
    `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'})`,
    `Node ${process.versions.node}`,
  ]
  if (redis !== null) facts.push(`Redis ${redis.version}`)
  return facts.join(', ')
}

/** Node raises its own limit to the hard one as it starts, so that is the one that counts. */
function openFilesLimit(): number {
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft?: number | string } } }
    | undefined
  const { soft } = report?.userLimits?.open_files ?? {}
  return typeof soft === 'number' ? soft : Number.POSITIVE_INFINITY
}

/** What a part has load generators do, one after the other, each a process of its own. */
function jobsOf(part: Part, url: string, options: Options): readonly Job[] {
  const { agents, windows, seconds, payloadBytes, receivers, connections, registered, seq } = options
  switch (part) {
    case 'direct':
      return [{ kind: 'direct', url, agents, windows, seconds, payloadBytes, seq }]
    case 'queue':
      return [{ kind: 'queue', url, agents, window: QUEUE_WINDOW, seconds, payloadBytes, seq }]
    case 'broadcast':
      return [{ kind: 'broadcast', url, receivers, seconds, payloadBytes, seq }]
    case 'idle':
      return [{ kind: 'idle', url, connections }]
    case 'registry':
      return [
        { kind: 'register', url, registered },
        { kind: 'discover', url, registered },
      ]
  }
}

/** What server and Redis had used at one mark. */
interface Reading extends Usage {
  readonly redisCpuMs: number
}

/** Asks the server itself only where that is no burden, or nobody else can tell. */
async function read(server: Server, redis: PrivateRedis | null, collectGarbage: boolean): Promise<Reading> {
  const cpuMs = server.cpuMs()
  const redisCpuMs = redis?.cpuMs() ?? Number.NaN
  if (!collectGarbage && !Number.isNaN(cpuMs)) return { cpuMs, rssBytes: Number.NaN, redisCpuMs }
  return { ...(await server.usage(collectGarbage)), redisCpuMs }
}

/** Of the `flow`th measured flow: two readings each, those of the warm-up first. */
function cost(readings: readonly Reading[], flow: number, completed: number): Cost {
  const [start, stop] = readings.slice(flow * 2 + 2)
  const per = (ms: number): number => (ms / 1000 / completed) * 100_000
  if (start === undefined || stop === undefined) return { server: Number.NaN, redis: Number.NaN }
  return { server: per(stop.cpuMs - start.cpuMs), redis: per(stop.redisCpuMs - start.redisCpuMs) }
}

function enter(figures: Figures, result: JobResult, readings: readonly Reading[]): void {
  switch (result.kind) {
    case 'direct':
      result.flows.forEach((flow, index) =>
        figures.direct.push({ ...flow, cost: cost(readings, index, flow.completed) }),
      )
      break
    case 'queue':
      figures.queue = { ...result.flow, cost: cost(readings, 0, result.flow.completed) }
      break
    case 'broadcast':
      figures.broadcast = { ...result.flow, cost: cost(readings, 0, result.flow.completed) }
      break
    case 'idle': {
      const [before, after] = readings
      const grown = (after?.rssBytes ?? Number.NaN) - (before?.rssBytes ?? Number.NaN)
      figures.idle = { connections: result.connections, bytesPerConnection: grown / result.connections }
      break
    }
    case 'register':
      figures.register = result.result
      break
    case 'discover':
      figures.discover = result.latency
      break
  }
}

/** One part of one server: a fresh process, an empty Redis. */
async function measure(
  contender: Contender,
  part: Part,
  options: Options,
  redis: PrivateRedis | null,
): Promise<[JobResult[], Reading[]]> {
  await redis?.clear()
  const onRedis = usesRedis(contender) ? redis : null
  await using server = await Server.start(
    FILES[contender],
    onRedis === null ? [] : [onRedis.url],
    options.profile,
  )
  const readings: Reading[] = []
  const jobResults: JobResult[] = []
  for (const job of jobsOf(part, server.url, options)) {
    const onMark = async (_name: string, collectGarbage: boolean): Promise<void> => {
      readings.push(await read(server, onRedis, collectGarbage))
    }
    jobResults.push(await runJob(job, onMark))
  }
  return [jobResults, readings]
}

async function bench(options: Options): Promise<void> {
  if (
    options.contenders.some(isHub) &&
    !existsSync(fileURLToPath(new URL('../dist/src/server.js', import.meta.url)))
  ) {
    throw new Error('dist/ has no hub: run npm run build first')
  }
  const files = openFilesLimit()
  const connections = Math.min(options.connections, files - 500)
  if (connections < options.connections) {
    console.log(`A process may open ${files} files (ulimit -n): idle connections reduced to ${connections}`)
  }
  if (files < options.receivers + 200)
    throw new Error(`a process may open ${files} files; raise it with ulimit -n 8192`)
  const settled = { ...options, connections }
  await using redis = options.contenders.some(usesRedis) ? await PrivateRedis.start() : null
  console.log(`${machine(redis)}\n\n${definitions(settled)}\n`)

  const results = new Map<Contender, Figures>()
  for (const contender of options.contenders) {
    results.set(contender, {
      direct: [],
      queue: null,
      broadcast: null,
      idle: null,
      register: null,
      discover: null,
    })
  }
  // Part by part rather than server by server: what is compared is measured at nearly the same time.
  for (const part of options.parts) {
    for (const [contender, figures] of results) {
      if ((part === 'registry' || part === 'queue') && !isHub(contender)) continue
      process.stderr.write(`${part}: ${contender} …\n`)
      const [jobResults, readings] = await measure(contender, part, settled, redis)
      for (const result of jobResults) enter(figures, result, readings)
    }
  }
  console.log(`${table(results)}\n\n${ratios(results)}`)
  for (const doubt of doubts(results)) console.log(`Note: ${doubt}`)
  if (options.json !== null) {
    const facts = { cores: cpus().length, node: process.versions.node, redis: redis?.version ?? null }
    writeFileSync(
      options.json,
      `${JSON.stringify({ facts, options: settled, results: Object.fromEntries(results) }, null, 2)}\n`,
    )
  }
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options !== null) await bench(options)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
