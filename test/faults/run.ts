import { connect } from '../../client/node.ts'
import { MeshError } from '../../protocol/errors.ts'
import { BundledAgent } from './bundled-agent.ts'
import { check } from './checker.ts'
import { forgotten, outstanding } from './check-stored.ts'
import { checkReceipts } from './check-receipts.ts'
import { Dice } from './dice.ts'
import { collectKept } from './drain.ts'
import { acceptedOf, entriesOf, type History } from './history.ts'
import { HubFleet } from './hubs.ts'
import { Load } from './load.ts'
import type { Participant } from './participant.ts'
import { RawAgent } from './raw-agent.ts'
import { Recorder } from './recorder.ts'
import type { Fault, Store } from './store.ts'
import type { Violation } from './violation.ts'
import { lookAt, Watcher } from './watchers.ts'

/** One fault of a schedule: begins `atMs` after the load, is mended `forMs` later. */
export interface Strike {
  readonly atMs: number
  readonly fault: string
  readonly forMs: number
}

export interface RunOptions {
  readonly seed: number
  readonly hubs: number
  readonly loadMs: number
  /** Null: random ones, from the seed. */
  readonly schedule: readonly Strike[] | null
  /** How often somebody sends. Default 12 ms. */
  readonly everyMs?: number
  /** On a busy machine the load goes on until there are so many sends. Default 0. */
  readonly leastSends?: number
  /** How long the mesh may take to bring everything to its end once nothing fails any more. Default 40,000. */
  readonly drainMs?: number
  /** Where the history goes; null: nowhere. */
  readonly path: string | null
  readonly log?: (line: string) => void
}

export interface RunResult {
  readonly history: History
  readonly violations: readonly Violation[]
}

/** How long what the store may have forgotten is waited for, once all the rest is over and nothing more of it comes. */
const LOST_MS = 6_000

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Where clients find hubs. */
export interface Places {
  /** With a list of their own, beginning with the hub of that index. */
  urlsFrom(index: number): string[]
  /** One for each hub, which no fault is in front of. */
  readonly directUrls: readonly string[]
}

interface Cast {
  readonly participants: readonly Participant[]
  readonly watchers: readonly Watcher[]
}

/** Agents and watchers, spread over the hubs; all are registered before anything is sent. */
async function assemble(places: Places, recorder: Recorder, dice: Dice): Promise<Cast> {
  const bundled = [0, 1, 2, 3].map(
    (i) => new BundledAgent(`bundled-${i}`, places.urlsFrom(i), recorder, dice.fork()),
  )
  const raw = [0, 1, 2].map((i) => new RawAgent(`raw-${i}`, places.urlsFrom(i), recorder, dice.fork()))
  const participants = [...bundled, ...raw]
  await Promise.all(participants.map((one) => one.start()))
  const hubs = places.directUrls.length
  const watchers = await Promise.all(
    Array.from({ length: Math.max(2, hubs) }, (_, i) =>
      Watcher.start(`watcher-${i}`, places.urlsFrom(i), recorder),
    ),
  )
  return { participants, watchers }
}

/** Throws the dice until the time is over. */
export function randomSchedule(dice: Dice, faults: readonly Fault[], loadMs: number): Strike[] {
  const names = faults.map(({ name }) => name)
  const strikes: Strike[] = []
  for (let atMs = 1_500; atMs < loadMs - 2_000; atMs += dice.between(300, 4_000)) {
    const fault = dice.pick(names)
    // Mostly short; else longer than a lease, a heartbeat, an acknowledgement may take; now and then than a command may.
    const length = dice.next()
    const [least, most] = length < 0.6 ? [50, 1_500] : length < 0.92 ? [2_000, 5_000] : [5_500, 9_000]
    const forMs = dice.between(least, most)
    strikes.push({ atMs, fault, forMs })
  }
  return strikes
}

/** Processes of agents that die. */
function agentFaults({ participants, watchers }: Cast): Fault[] {
  return [
    { name: 'agent restarted', strike: (_, dice) => Promise.resolve(dice.pick(participants).crash(0)) },
    {
      name: 'agent absent',
      async strike(ms, dice) {
        dice.pick(participants).crash(ms)
        await wait(ms)
      },
    },
    {
      name: 'leader absent',
      async strike(ms) {
        const leader = watchers[0]?.leader.agentId
        participants.find(({ agent }) => agent === leader)?.crash(ms)
        await wait(ms)
      },
    },
  ]
}

async function strikeAll(
  schedule: readonly Strike[],
  faults: readonly Fault[],
  recorder: Recorder,
  dice: Dice,
): Promise<void> {
  const byName = new Map(faults.map((fault) => [fault.name, fault]))
  const start = performance.now()
  await Promise.all(
    schedule.map(async ({ atMs, fault: name, forMs }) => {
      const own = dice.fork()
      const fault = byName.get(name)
      if (!fault) throw new Error(`this mesh has no fault "${name}"; it has ${[...byName.keys()].join(', ')}`)
      await wait(atMs - (performance.now() - start))
      recorder.write({ kind: 'fault', fault: `${name}, ${forMs} ms`, over: false })
      await fault.strike(forMs, own, recorder)
      recorder.write({ kind: 'fault', fault: `${name}, ${forMs} ms`, over: true })
    }),
  )
}

/** Records the dead letters that were not `known`; false: the store did not answer, ask again. */
async function listDead(url: string, recorder: Recorder, known: Set<string>): Promise<boolean> {
  const client = await connect({ url, observer: true })
  try {
    for await (const { position, messageId: id, agentId: agent, reason } of client.deadLetters.listAll()) {
      if (!known.has(position)) recorder.write({ kind: 'dead', id, agent, reason })
      known.add(position)
    }
    return true
  } catch (error) {
    if (!(error instanceof MeshError && error.retryable)) throw error
    return false
  } finally {
    await client.close()
  }
}

/** Waits until everything has come to its end, or for `drainMs`; then takes stock of what the mesh holds. */
async function settle(
  places: Places,
  { participants, watchers }: Cast,
  recorder: Recorder,
  drainMs: number,
): Promise<void> {
  const deadline = Date.now() + drainMs
  let uncertain = ''
  let changedAt = Date.now()
  const open = (): boolean => {
    if (participants.some(({ unanswered }) => unanswered > 0)) return true
    const owing = outstanding(recorder.history)
    if (owing.some(({ mayBeLost }) => !mayBeLost)) return true
    const now = owing.map(({ key, agent }) => `${key} ${agent}`).join()
    if (now !== uncertain) [uncertain, changedAt] = [now, Date.now()]
    if (now !== '' && Date.now() - changedAt < LOST_MS) return true
    return checkReceipts(recorder.history).some(({ what }) => what.endsWith('has no final receipt'))
  }
  const url = places.directUrls[0] ?? ''
  const dead = new Set<string>()
  await listDead(url, recorder, dead)
  while (open() && Date.now() < deadline) {
    await wait(200)
    // What is dead-lettered is over too.
    await listDead(url, recorder, dead)
  }
  let revision = 0
  do {
    revision = Math.max(
      revision,
      ...(await Promise.all(places.directUrls.map((hub, i) => look(`final-${i}`, hub, recorder)))),
    )
    await wait(100)
  } while (watchers.some((one) => one.revision < revision) && Date.now() < deadline)
  await Promise.all(participants.map((one) => one.close()))
  await Promise.all(watchers.map((one) => one.close()))
  await collectKept(
    url,
    participants.map(({ agent }) => agent),
    recorder,
  )
  while (!(await listDead(url, recorder, dead))) await wait(200)
}

const look = (name: string, url: string, recorder: Recorder): Promise<number> =>
  lookAt(name, url, recorder, AbortSignal.timeout(20_000))

/** Now and then somebody new looks at the registry, on some hub. */
function lookAround(places: Places, recorder: Recorder, dice: Dice): () => Promise<void> {
  const abort = new AbortController()
  let looks = 0
  const loop = (async () => {
    while (!abort.signal.aborted) {
      await wait(dice.between(300, 1_200))
      const url = dice.pick(places.urlsFrom(0))
      try {
        await lookAt(
          `look-${(looks += 1)}`,
          url,
          recorder,
          AbortSignal.any([abort.signal, AbortSignal.timeout(3_000)]),
        )
      } catch (error) {
        // That hub is gone, or its way to us.
        if (!/Abort|Timeout|Mesh/.test((error as Error).name)) throw error
      }
    }
  })()
  return async () => {
    abort.abort()
    await loop
  }
}

/** What a run does besides sending; resolves when no fault is left. */
export type Trouble = (cast: Cast, recorder: Recorder, dice: Dice) => Promise<void>

/** Puts agents, watchers and load on hubs that run, with trouble on the way, and judges the history. */
export async function runLoad(places: Places, options: RunOptions, trouble: Trouble): Promise<RunResult> {
  const recorder = new Recorder(options.path)
  const dice = new Dice(options.seed)
  const cast = await assemble(places, recorder, dice)
  const stopLooking = lookAround(places, recorder, dice.fork())
  const load = new Load(
    cast.participants,
    dice.fork(),
    () => cast.watchers[0]?.leader ?? { agentId: null, term: 0 },
  )
  load.start(options.everyMs ?? 12)
  const over = wait(options.loadMs)
  await trouble(cast, recorder, dice.fork())
  await over
  while (entriesOf(recorder.history, 'sent').length < (options.leastSends ?? 0)) await wait(50)
  load.stop()
  await stopLooking()
  options.log?.(`load is over: ${describe(recorder.history)}`)
  await settle(places, cast, recorder, options.drainMs ?? 40_000)
  await recorder.close()
  return { history: recorder.history, violations: check(recorder.history) }
}

/** Real hub processes on that store, faults by the schedule, and the verdict. */
export async function runFaults(store: Store, options: RunOptions): Promise<RunResult> {
  await using fleet = await HubFleet.start(store, options.hubs)
  return await runLoad(fleet, options, async (cast, recorder, dice) => {
    const faults = [...store.faults, ...fleet.faults, ...agentFaults(cast)]
    const schedule = options.schedule ?? randomSchedule(dice, faults, options.loadMs)
    await strikeAll(schedule, faults, recorder, dice)
    await store.heal()
    fleet.heal()
  })
}

/** A history in numbers. */
export function describe(history: History): string {
  const counts = {
    sent: entriesOf(history, 'sent').length,
    stored: acceptedOf(history).size,
    deliveries: entriesOf(history, 'received').length,
    processed: entriesOf(history, 'processed').length,
    receipts: entriesOf(history, 'receipt').length,
    'dead letters': new Set(entriesOf(history, 'dead').map(({ id, agent }) => `${id} ${agent}`)).size,
    sessions: entriesOf(history, 'session').length,
    events: entriesOf(history, 'event').length,
    leaders: new Set(entriesOf(history, 'event').flatMap(({ term }) => (term === null ? [] : [term]))).size,
    failovers: entriesOf(history, 'failover').filter(({ over }) => over).length,
    'messages lost by them': new Set(forgotten(history).map(({ key }) => key)).size,
    faults: entriesOf(history, 'fault').filter(({ over }) => !over).length,
  }
  return Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')
}
