// Runs a mesh under load and random faults, and judges what its clients saw:
//   npm run faults -- --seed N --minutes M (--help: what else)
// The same seed throws the same dice; what the machine makes of them differs from run to run.
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { entriesOf } from './history.ts'
import { describe, runFaults } from './run.ts'
import { embeddedStore, redisStore, type Store } from './store.ts'
import { explain } from './violation.ts'

const STORES: Readonly<Record<string, () => Promise<Store>>> = {
  redis: redisStore,
  embedded: () => Promise.resolve(embeddedStore()),
}
/** Violations printed; all are counted. */
const PRINTED = 10
const HELP = `npm run faults -- [options]

  --seed N      of the dice for faults and load (default: any)
  --minutes M   of load under faults (default 1)
  --hubs N      default 3; embedded: 1
  --store NAME  ${Object.keys(STORES).join(' or ')} (default redis)
  --dir FOLDER  keeps the history there (default: only where a promise was broken, in a temporary one)
`

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: 'string', default: '1' },
    hubs: { type: 'string' },
    store: { type: 'string', default: 'redis' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit()
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
