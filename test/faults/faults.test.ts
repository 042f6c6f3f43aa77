import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { entriesOf } from './history.ts'
import { TIMES } from './hubs.ts'
import { describe, runFaults, type Strike } from './run.ts'
import { embeddedStore, redisStore, type Store } from './store.ts'
import { explain } from './violation.ts'

/** A little of what `npm run faults` does for as long as it is told to; about half a minute each. */
async function prove(store: Store, seed: number, hubs: number, schedule: readonly Strike[]): Promise<void> {
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

const strike = (atMs: number, fault: string, forMs = 0): Strike => ({ atMs, fault, forMs })

test('three hubs on Redis keep every promise while a hub is killed, another frozen beyond its lease, and the network fails', async () => {
  await using store = await redisStore()
  await prove(store, 1, 3, [
    strike(500, 'clients half-open', 2_500),
    strike(1_000, 'leader absent', 3 * TIMES.graceMs),
    strike(1_500, 'store cut'),
    strike(2_000, 'hub killed', 1_000),
    strike(4_500, 'agent restarted'),
    strike(5_000, 'store pubsub killed'),
    strike(5_500, 'hub frozen', TIMES.leaseMs + 1_500),
    strike(6_000, 'clients cut'),
    strike(9_500, 'store half-open', 1_000),
  ])
}, 120_000)

test('three hubs on Redis keep every promise while Redis is killed and comes back with what it wrote, stalls, and a hub drains', async () => {
  await using store = await redisStore()
  await prove(store, 2, 3, [
    strike(500, 'agent absent', 1_500),
    strike(1_000, 'store killed', 800),
    strike(3_500, 'store frozen', 1_000),
    strike(5_000, 'hub drained'),
    strike(5_500, 'store pubsub killed'),
    strike(7_000, 'store stalled', TIMES.leaseMs + 500),
    strike(7_500, 'clients stalled', 1_000),
    strike(9_500, 'store killed', 200),
  ])
}, 120_000)

test('one hub with the embedded core keeps every promise while connections fail and it is frozen', async () => {
  await using store = embeddedStore()
  await prove(store, 3, 1, [
    strike(500, 'clients cut'),
    strike(1_000, 'clients half-open', 2_500),
    strike(1_500, 'leader absent', 3 * TIMES.graceMs),
    strike(3_500, 'hub frozen', TIMES.ackTimeoutMs + 500),
    strike(6_000, 'clients stalled', 1_000),
    strike(7_000, 'agent restarted'),
  ])
}, 90_000)
