import type { DirectFlow, Flow, Percentiles, RegisterResult } from './jobs.ts'
import type { Contender } from './options.ts'

/** CPU seconds for 100,000 messages (of broadcasts: deliveries), of the server and of Redis. */
export interface Cost {
  readonly server: number
  readonly redis: number
}

/** What was measured of one server. */
export interface Figures {
  readonly direct: (DirectFlow & { readonly cost: Cost })[]
  queue: (Flow & { readonly cost: Cost }) | null
  broadcast: (Flow & { readonly cost: Cost }) | null
  idle: { readonly connections: number; readonly bytesPerConnection: number } | null
  register: RegisterResult | null
  discover: Percentiles | null
}

export type Results = ReadonlyMap<Contender, Figures>

const TITLES: Readonly<Record<Contender, string>> = {
  relay: 'ws relay',
  'relay-redis': 'ws relay + Redis',
  hub: 'hub, embedded',
  'hub-redis': 'hub on Redis',
}

/** A number without its fraction, with separators; a dash where there is none. */
export const count = (value: number | undefined): string =>
  value === undefined ? '–' : Math.round(value).toLocaleString('en-US')

function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  return value >= 100 ? count(value) : value.toFixed(value >= 10 ? 1 : 2)
}

const pair = (value: { readonly p50: number; readonly p99: number } | undefined): string =>
  value === undefined ? '–' : `${figure(value.p50)} / ${figure(value.p99)}`

/** Rows of cells as lines; the first column is left-aligned, the others right-aligned. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, cell.length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join('  ')
  return rows.map((row) => line(row).trimEnd()).join('\n')
}

type Row = readonly [title: string, cell: (figures: Figures) => string]

function rowsOf(results: Results): Row[] {
  const windows = new Set([...results.values()].flatMap(({ direct }) => direct.map(({ window }) => window)))
  const rows: Row[] = []
  for (const window of windows) {
    const of = ({ direct }: Figures): Figures['direct'][number] | undefined =>
      direct.find((flow) => flow.window === window)
    rows.push(
      [`directed messages/s, window ${count(window)}`, (figures) => count(of(figures)?.perSecond)],
      ['  latency p50 / p99, ms', (figures) => pair(of(figures)?.latency)],
      ['  server CPU, s per 100,000 messages', (figures) => figure(of(figures)?.cost.server)],
      ['  Redis CPU, s per 100,000 messages', (figures) => figure(of(figures)?.cost.redis)],
    )
  }
  const all = [...results.values()]
  if (all.some(({ queue }) => queue !== null)) {
    rows.push(
      ['work-queue messages/s', ({ queue }) => count(queue?.perSecond)],
      ['  latency p50 / p99, ms', ({ queue }) => pair(queue?.latency)],
      ['  server CPU, s per 100,000 messages', ({ queue }) => figure(queue?.cost.server)],
      ['  Redis CPU, s per 100,000 messages', ({ queue }) => figure(queue?.cost.redis)],
    )
  }
  if (all.some(({ broadcast }) => broadcast !== null)) {
    rows.push(
      ['broadcast deliveries/s', ({ broadcast }) => count(broadcast?.perSecond)],
      ['  latency p50 / p99, ms', ({ broadcast }) => pair(broadcast?.latency)],
      ['  server CPU, s per 100,000 deliveries', ({ broadcast }) => figure(broadcast?.cost.server)],
    )
  }
  if (all.some(({ idle }) => idle !== null)) {
    rows.push([
      'RSS per idle connection, KiB',
      ({ idle }) => figure(idle === null ? undefined : idle.bytesPerConnection / 1024),
    ])
  }
  if (all.some(({ register }) => register !== null)) {
    rows.push(
      ['registrations/s, 32 at once', ({ register }) => count(register?.registrationsPerSecond)],
      ['register p50 / p99, ms', ({ register }) => pair(register?.register)],
      ['discover p50 / p99, ms', ({ discover }) => pair(discover ?? undefined)],
    )
  }
  return rows
}

/** One line a measurement, one column a server. */
export function table(results: Results): string {
  const shown = [...results.values()]
  const rows = rowsOf(results).map(([title, cell]) => [title, ...shown.map((figures) => cell(figures))])
  return columns([['', ...[...results.keys()].map((contender) => TITLES[contender])], ...rows])
}

const COMPARED: readonly (readonly [Contender, Contender])[] = [
  ['hub', 'relay'],
  ['hub-redis', 'relay-redis'],
]

type Measured = Flow & { readonly cost: Cost }

const ratioRow = (title: string, mine: Measured, theirs: Measured): string[] => [
  title,
  figure(mine.perSecond / theirs.perSecond),
  figure(theirs.cost.server / mine.cost.server),
]

/**
 * How the hub compares with the relay that keeps as much: messages a second, and messages a second of the server's CPU, which
 * says more where the machine has other work. Empty where not both were measured.
 */
export function ratios(results: Results): string {
  const rows: string[][] = []
  for (const [hub, relay] of COMPARED) {
    const mine = results.get(hub)
    const theirs = results.get(relay)
    if (mine === undefined || theirs === undefined) continue
    const title = `${TITLES[hub]} / ${TITLES[relay]}`
    for (const flow of mine.direct) {
      const other = theirs.direct.find(({ window }) => window === flow.window)
      if (other !== undefined)
        rows.push(ratioRow(`${title}: messages, window ${count(flow.window)}`, flow, other))
    }
    if (mine.broadcast !== null && theirs.broadcast !== null) {
      rows.push(ratioRow(`${title}: broadcast deliveries`, mine.broadcast, theirs.broadcast))
    }
  }
  return rows.length === 0 ? '' : columns([['', 'per second', 'per second of server CPU'], ...rows])
}

/** What makes a figure doubtful: lost or doubled messages, errors, a load generator with no time to spare. */
export function doubts(results: Results): string[] {
  const found: string[] = []
  for (const [contender, { direct, queue, broadcast }] of results) {
    const flows: readonly (readonly [string, Flow])[] = [
      ...direct.map((flow) => [`window ${flow.window}`, flow] as const),
      ...(queue === null ? [] : [['work queue', queue] as const]),
      ...(broadcast === null ? [] : [['broadcast', broadcast] as const]),
    ]
    for (const [name, flow] of flows) {
      const title = `${TITLES[contender]}, ${name}`
      if (flow.lost > 0) found.push(`${title}: ${flow.lost} never completed`)
      if (flow.duplicates > 0) found.push(`${title}: ${flow.duplicates} came twice`)
      if (flow.errors > 0) found.push(`${title}: ${flow.errors} errors, the first: ${flow.firstError}`)
      if (flow.generatorCpu > 0.9) {
        found.push(
          `${title}: the load generator used ${Math.round(flow.generatorCpu * 100)} % of a core; the server may do more`,
        )
      }
    }
  }
  return found
}
