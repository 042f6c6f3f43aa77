import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { entriesOf } from './history.ts'
import { describe, runFaults, type Strike } from './run.ts'
import type { Store } from './store.ts'
import { explain } from './violation.ts'

/** A little of what `npm run faults` does for as long as it is told to; about half a minute each. */
export async function prove(
  store: Store,
  seed: number,
  hubs: number,
  schedule: readonly Strike[],
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwire-faults-'))
  const path = join(folder, 'history.jsonl')
  const last = Math.max(...schedule.map(({ atMs, forMs }) => atMs + forMs))
  const options = { seed, hubs, loadMs: last + 1_000, everyMs: 25, leastSends: 800, schedule, path }
  const { history, violations } = await runFaults(store, options)
  const told = violations.slice(0, 5).map((one) => explain(one, history))
  expect(told, `${describe(history)}; the history is ${path}`).toEqual([])
  // There was something to judge.
  expect(entriesOf(history, 'fault')).toHaveLength(2 * schedule.length)
  expect(entriesOf(history, 'processed').length).toBeGreaterThan(500)
  await rm(folder, { recursive: true })
}

export const strike = (atMs: number, fault: string, forMs = 0): Strike => ({ atMs, fault, forMs })
