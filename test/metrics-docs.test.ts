import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { METRICS, type MetricName, type MetricRow } from '../src/observability/metric-table.ts'
import { startTestHub } from './support/hubs.ts'
import { fencedBlocks, tableRows } from './support/markdown.ts'
import { scrape } from './support/metrics.ts'
import { ROOT } from './support/run.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const METRICS_PAGE = read('docs/metrics.md')

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[]
}
const dashboard = JSON.parse(read('docs/grafana-dashboard.json')) as {
  readonly title: string
  readonly panels: readonly Panel[]
}
const panelExprs = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

const [rules = ''] = fencedBlocks(read('docs/operations.md'), 'yaml').filter((block) =>
  block.startsWith('groups:'),
)
const alertExprs = [...rules.matchAll(/^ +expr: (.+)$/gm)].map(([, expr = '']) => expr)

/** The metrics that an expression names, without the endings of histograms. */
const namesIn = (expr: string): string[] =>
  [...expr.matchAll(/\b(?:meshwire|nodejs|process)_[a-z0-9_]+/g)].map(([name]) => name)

const rowOf = (name: string): MetricRow | undefined => {
  const own = name.replace(/_(?:bucket|sum|count)$/, '')
  const row: MetricRow | undefined = METRICS[own as MetricName] ?? METRICS[name as MetricName]
  return (row?.type === 'histogram') === (own !== name) ? row : undefined
}

/** What Prometheus adds, and a hub among workers. */
const ADDED = ['job', 'instance', 'worker', 'le']

describe('docs/metrics.md', () => {
  it('lists every metric with type, labels and meaning, in the order of the code', () => {
    const listed = tableRows(METRICS_PAGE).filter(
      (cells) => cells.length === 4 && /^`meshwire_\w+`$/.test(cells[0] ?? ''),
    )
    expect(listed).toEqual(
      Object.entries(METRICS).map(([name, { type, labels, help }]) => [
        `\`${name}\``,
        type,
        labels.map((label) => `\`${label}\``).join(', '),
        help,
      ]),
    )
  })

  it('names no other metric, and of the process only what there is', async () => {
    await using hub = await startTestHub('memory')
    const { families } = await scrape(hub)
    for (const name of namesIn(METRICS_PAGE))
      expect(rowOf(name) ?? (Object.hasOwn(METRICS, name) || families.has(name)), name).toBeTruthy()
  })
})

it('dead letters are counted by each reason of PROTOCOL.md, from the beginning', async () => {
  const [, listed = ''] =
    /^.*Reasons where no `nack` gave one: ([^.]+)\./m.exec(read('docs/PROTOCOL.md')) ?? []
  const reasons = [...listed.matchAll(/`(\w+)`/g)].map(([, reason = '']) => reason)
  expect(reasons).toContain('inbox_overflow')
  await using hub = await startTestHub('memory')
  const found = await scrape(hub)
  for (const reason of [...reasons, 'rejected'])
    expect(found.value('meshwire_dead_letters_added_total', { reason }), reason).toBe(0)
  const named = /^- `reason` of `meshwire_dead_letters_added_total`: (.+)$/m.exec(METRICS_PAGE)?.[1] ?? ''
  for (const reason of [...reasons, 'rejected']) expect(named).toContain(`\`${reason}\``)
})

describe('the names of metrics', () => {
  it.each(Object.entries(METRICS))('%s says its unit, and counters end in _total', (name, { type }) => {
    expect(name).toMatch(/^meshwire_[a-z_]+$/)
    expect(name.endsWith('_total')).toBe(type === 'counter')
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
  })
})

describe.each([
  ['docs/grafana-dashboard.json', panelExprs],
  ['the alerts of docs/operations.md', alertExprs],
])('%s', (_page, exprs) => {
  it('asks for metrics that exist, by labels that they have', async () => {
    expect(exprs.length).toBeGreaterThan(10)
    await using hub = await startTestHub('memory')
    const { names } = await scrape(hub)
    for (const expr of exprs) {
      const asked = namesIn(expr)
      expect(asked.length > 0 || expr.startsWith('up{'), expr).toBe(true)
      const labels = new Set(ADDED)
      for (const name of asked) {
        const row = rowOf(name)
        expect(row !== undefined || names.has(name), `${name} in ${expr}`).toBe(true)
        for (const label of row?.labels ?? []) labels.add(label)
      }
      const used = [
        ...[...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(', ')),
        ...[...expr.matchAll(/[{,](\w+)(?:=~|!=|=)"/g)].map(([, label = '']) => label),
      ]
      for (const label of used) expect(labels, expr).toContain(label)
      const opening = expr.split('(').length
      expect(expr.split(')').length, expr).toBe(opening)
      // A counter is of no use but as a rate.
      for (const name of asked)
        if (rowOf(name)?.type !== 'gauge' && rowOf(name))
          expect(expr).toMatch(new RegExp(`(?:rate|increase)\\(${name}[^)]*\\[`))
    }
  })
})

describe('docs/grafana-dashboard.json', () => {
  it('has panels of its own number and place each, with something to ask', () => {
    expect(dashboard.title).toBe('Meshwire')
    const places = new Set<string>()
    for (const { id, type, title, gridPos, targets } of dashboard.panels) {
      places.add(`${gridPos.x} ${gridPos.y}`)
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
      expect(targets?.length ?? 0, `${id} ${title}`).toBeGreaterThanOrEqual(type === 'row' ? 0 : 1)
    }
    expect(places.size).toBe(dashboard.panels.length)
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
  })

  it('shows every metric', () => {
    const shown = new Set(panelExprs.flatMap(namesIn).map((name) => name.replace(/_(?:bucket|count)$/, '')))
    expect(Object.keys(METRICS).filter((name) => !shown.has(name))).toEqual([])
  })
})
