// Runs a mesh under load and random faults, and judges what its clients saw.
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { entriesOf } from './history.ts'
import { describe, runFaults } from './run.ts'
import { clusterStore } from './cluster-store.ts'
import { sentinelStore } from './sentinel-store.ts'
import { embeddedStore, redisStore, type Store } from './store.ts'
import { explain } from './violation.ts'

const STORES: Readonly<Record<string, () => Promise<Store>>> = {
  redis: redisStore,
  sentinel: sentinelStore,
  cluster: clusterStore,
  embedded: () => Promise.resolve(embeddedStore()),
}
const HELP = `npm run faults -- [options]

  --seed N      an integer; the same one throws the same dice, for faults and load (default: any)
  --minutes M   how long there are load and faults (default 1)
  --hubs N      hub processes (default 3; with --store embedded 1)
  --store NAME  redis     one redis-server that keeps all it has answered for (default)
                sentinel  a primary, a replica and three Sentinels: primaries are killed, frozen and replaced
                cluster   three primaries with a replica each: the same
                embedded  none: faults of clients only
  --dir FOLDER  where the history goes (default: a new folder, which is removed where every promise was kept)

Ends with 1 where a promise was broken. With sentinel and cluster, what was sent while a primary was replaced, and up to
a second before, may be lost: it is counted, and not judged.`
/** Violations printed; all are counted. */
const PRINTED = 10

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: 'string', default: '1' },
    hubs: { type: 'string' },
    store: { type: 'string', default: 'redis' },
    dir: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const open = STORES[values.store]
if (!open) throw new Error(`--store ${values.store}: must be one of ${Object.keys(STORES).join(', ')}`)
const seed = Number(values.seed)
const minutes = Number(values.minutes)
if (!Number.isInteger(seed) || !(minutes > 0))
  throw new Error('--seed takes an integer, --minutes a number above 0')
const hubs = Number(values.hubs ?? (values.store === 'embedded' ? 1 : 3))
const folder = values.dir ?? join(tmpdir(), `meshwire-faults-${seed}-${process.pid}`)
await mkdir(folder, { recursive: true })
const path = join(folder, 'history.jsonl')

console.log(`seed ${seed}, ${minutes} min, ${hubs} hubs on ${values.store}`)
await using store = await open()
const { history, violations } = await runFaults(store, {
  seed,
  hubs,
  loadMs: minutes * 60_000,
  schedule: null,
  path,
  log: (line) => console.log(line),
})
const strikes = new Map<string, number>()
for (const { fault, over } of entriesOf(history, 'fault')) {
  const name = fault.replace(/, \d+ ms$/, '')
  if (!over) strikes.set(name, (strikes.get(name) ?? 0) + 1)
}
for (const [name, count] of [...strikes].toSorted()) console.log(`  ${count} × ${name}`)
console.log(describe(history))
if (violations.length === 0) {
  console.log('every promise was kept')
  if (values.dir === undefined) await rm(folder, { recursive: true })
} else {
  for (const one of violations.slice(0, PRINTED)) console.log(`\n${explain(one, history)}`)
  console.log(`\n${violations.length} violations; the history is ${path}`)
  console.log(
    `again: npm run faults -- --seed ${seed} --minutes ${minutes} --hubs ${hubs} --store ${values.store}`,
  )
  process.exitCode = 1
}
