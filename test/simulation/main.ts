import { parseArgs } from 'node:util'
import { check, type Violation } from './check.ts'
import { VirtualClock } from './clock.ts'
import { defects } from './defects.ts'
import { installRandom } from './random.ts'
import { World } from './world.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    defect: { type: 'string' },
    digest: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const HELP = `npm run simulate -- [options]

  --from N      first seed (default 1)
  --seeds N     how many (default 1000)
  --defect NAME on a core with this defect: ${Object.keys(defects).join(', ')}
  --digest      print a digest of what happened in each seed
`

const TROUBLE_MS = 6_000
const REST_MS = 60_000

const realNow = performance.now.bind(performance)
const clock = new VirtualClock()

async function simulate(seed: number): Promise<{ world: World; violations: Violation[] }> {
  clock.reset()
  installRandom(seed)
  const defect = values.defect === undefined ? undefined : defects[values.defect]
  if (values.defect !== undefined && !defect)
    throw new Error(`--defect ${values.defect}: there is no such defect`)
  const options = { clock, seed, troubleMs: TROUBLE_MS, restMs: REST_MS }
  const world = new World(defect ? { ...options, wrap: defect } : options)
  const isDone = await world.run()
  return { world, violations: await check(world, isDone) }
}

/** A number that tells whether two runs of a seed were the same. */
function digestOf(text: string): string {
  let hash = 2_166_136_261
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619) >>> 0
  return hash.toString(16)
}

/** No seeds at all would keep every promise. */
function whole(option: 'from' | 'seeds'): number {
  const number = Number(values[option])
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`--${option} ${values[option]}: must be an integer above 0`)
}

async function main(): Promise<void> {
  const [from, count] = [whole('from'), whole('seeds')]
  clock.install()
  const startedAt = realNow()
  let happened = 0
  for (let seed = from; seed < from + count; seed++) {
    const { world, violations } = await simulate(seed)
    happened += world.history.events.length
    if (values.digest) console.log(`${seed} ${digestOf(JSON.stringify(world.history.events))}`)
    const [violation] = violations
    if (!violation) continue
    console.log(`${violation.history}\nseed ${seed}: ${violation.rule}: ${violation.what}`)
    const defect = values.defect === undefined ? '' : ` --defect ${values.defect}`
    console.log(`again: npm run simulate -- --from ${seed} --seeds 1${defect}`)
    process.exitCode = 1
    return
  }
  const seconds = (realNow() - startedAt) / 1_000
  console.log(
    `${count} seeds, ${happened} events, ${seconds.toFixed(1)} s: ${Math.round((count / seconds) * 60)} seeds a minute`,
  )
}

if (values.help) console.log(HELP)
else await main()
process.exit()
