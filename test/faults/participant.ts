import type { Target } from '../../protocol/message.ts'
import type { Dice } from './dice.ts'
import type { Lane } from './history.ts'

/** One message to be sent. */
export interface Shot {
  readonly to: Target
  readonly lane: Lane
  /** See `sent` in history.ts. */
  readonly owed: readonly string[] | null
  readonly receipt: boolean
  readonly asLeader: number | null
}

/** What every message carries: who sent it, as what. */
export interface Payload {
  readonly key: string
  readonly lane: Lane
  readonly padding?: string
}

/** More than a hub tells another one at once. */
const LARGE_BYTES = 70_000

/** Now and then a large one. */
export function payloadOf(key: string, lane: Lane, dice: Dice): Payload {
  return dice.chance(0.01) ? { key, lane, padding: 'x'.repeat(LARGE_BYTES) } : { key, lane }
}

export const WORK = 'work'
export const GROUP = 'crew'

/** An agent under test: sends what it is told, handles what comes, and writes both down. */
export interface Participant {
  readonly agent: string
  /** Resolves when it is registered for the first time. */
  start(): Promise<void>
  send(shot: Shot): void
  /** Changes something of its registration. */
  update(): void
  /** Its process dies, and a new one begins so much later; meanwhile it sends nothing. */
  crash(absentMs: number): void
  /** Sends without an answer. */
  readonly unanswered: number
  close(): Promise<void>
}
