import type { Redis } from 'ioredis'
import type { Dice } from './dice.ts'
import type { Recorder } from './recorder.ts'
import { type Fault, wait } from './store.ts'
import { pollUntil } from '../support/poll-until.ts'

const TIMEOUT_MS = 60_000
/** How long a primary that is to be replaced may go on as one: whoever was asked only begins then, and may fail before it is done. */
const REPLACED_MS = 10_000
/** What may be on its way while both are asked. */
const BEHIND_BYTES = 65_536

/**
 * A primary that nobody follows takes no writes, so one that was replaced without noticing takes none for long.
 * Seconds.
 */
export const REPLICATED = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 2 } as const

/** A server that is a primary, or follows one. */
export interface Member {
  readonly port: number
  /** For commands to just this one. */
  readonly client: Redis
  kill(): Promise<void>
  /** Starts it again, empty; it follows that primary. */
  restart(primaryPort: number): Promise<void>
  pause(): void
  resume(): void
}

/** Two servers, one of which is the primary. */
export interface Pair {
  readonly members: readonly [Member, Member]
  /** Replaces the primary, which is alive. */
  replace(primary: Member, replica: Member): Promise<unknown>
  /** It has the namespace of the run. */
  readonly isOurs: boolean
}

const until = (what: string, holds: () => Promise<boolean>): Promise<void> =>
  pollUntil(holds, TIMEOUT_MS, `the store does not come to this: ${what}`)

async function replication({ client }: Member): Promise<(name: string) => string | undefined> {
  const info = await client.info('replication')
  return (name) => new RegExp(`^${name}:(.*)\\r$`, 'm').exec(info)?.[1]
}

const isPrimary = async (member: Member): Promise<boolean> => (await replication(member))('role') === 'master'

/** Whether the replica has what the primary has, and counts as one. */
async function follows(replica: Member, primary: Member): Promise<boolean> {
  const [leading, following] = await Promise.all([replication(primary), replication(replica)])
  if (following('role') !== 'slave' || following('master_link_status') !== 'up') return false
  if (leading('role') !== 'master' || leading('min_slaves_good_slaves') === '0') return false
  return Number(following('slave_repl_offset')) >= Number(leading('master_repl_offset')) - BEHIND_BYTES
}

/**
 * Waits until one follows the other, whichever: a Sentinel that fails while it replaces a primary leaves it to others, who may
 * make the old one the primary again.
 */
const inSync = (one: Member, other: Member): Promise<void> =>
  until(
    `one of ${one.port} and ${other.port} follows the other`,
    async () => (await follows(one, other)) || (await follows(other, one)),
  )

/** Faults of servers that replicate. One at a time: of two that fail there is none to take over. */
export class Replicated {
  readonly #pairs: readonly Pair[]
  #busy = false
  readonly faults: readonly Fault[]

  private constructor(pairs: readonly Pair[]) {
    this.#pairs = pairs
    this.faults = [
      this.#fault('primary killed', async ({ primary, replica, ms, began, over }) => {
        began()
        await primary.kill()
        const killedAt = Date.now()
        await until(`${replica.port} is promoted`, () => isPrimary(replica))
        over()
        await wait(killedAt + ms - Date.now())
        await primary.restart(replica.port)
        await inSync(replica, primary)
      }),
      this.#fault('primary frozen', async ({ primary, replica, ms, began, over }) => {
        began()
        primary.pause()
        const pausedAt = Date.now()
        await until(`${replica.port} is promoted`, () => isPrimary(replica))
        await wait(pausedAt + ms - Date.now())
        primary.resume()
        await inSync(replica, primary)
        over()
      }),
      this.#fault('primary replaced', async ({ pair, primary, replica, began, over }) => {
        began()
        await pair.replace(primary, replica)
        const end = Date.now() + REPLACED_MS
        while (Date.now() < end && !(await isPrimary(replica))) await wait(20)
        await inSync(replica, primary)
        over()
      }),
      this.#fault('replica killed', async ({ primary, replica, ms }) => {
        await replica.kill()
        await wait(ms)
        await replica.restart(primary.port)
        await inSync(primary, replica)
      }),
      this.#fault('store pubsub killed', async ({ primary }) => {
        await primary.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      }),
    ]
  }

  /** Begins when all follow. */
  static async start(pairs: readonly Pair[]): Promise<Replicated> {
    for (const { members } of pairs) await inSync(...members)
    return new Replicated(pairs)
  }

  /** Mostly of the servers that have our namespace. While a fault is on there is no other one. */
  #fault(
    name: string,
    act: (struck: {
      readonly pair: Pair
      readonly primary: Member
      readonly replica: Member
      readonly ms: number
      /** What is told from a while before is uncertain; until `over`. */
      readonly began: () => void
      readonly over: () => void
    }) => Promise<void>,
  ): Fault {
    return {
      name,
      strike: async (ms: number, dice: Dice, recorder: Recorder) => {
        const [first] = this.#pairs
        const others = this.#pairs.filter(({ isOurs }) => !isOurs)
        const ours = this.#pairs.find(({ isOurs }) => isOurs) ?? first
        const pair = others.length > 0 && dice.chance(0.25) ? dice.pick(others) : ours
        if (this.#busy || !pair) return
        this.#busy = true
        const [one, other] = pair.members
        const [primary, replica] = (await isPrimary(one)) ? [one, other] : [other, one]
        const tell = (over: boolean): void => {
          if (pair.isOurs) recorder.write({ kind: 'failover', over })
        }
        await act({ pair, primary, replica, ms, began: () => tell(false), over: () => tell(true) })
        this.#busy = false
      },
    }
  }
}
