import type { DEAD_REASONS } from '../../protocol/message.ts'

export interface DeadLetter {
  /** Place in the list; grows. */
  readonly position: string
  /** Null where a record stands for several broadcasts: what was cut from the log, or not settled when the agent was unregistered. */
  readonly messageId: string | null
  /** Whom it was for; of work the last holder, or null where nobody had it. */
  readonly agentId: string | null
  /** Of work: its queue. */
  readonly capability: string | null
  /** One of `DEAD_REASONS`, or what the last `nack` said. */
  readonly reason: (typeof DEAD_REASONS)[number] | (string & {})
  /** How often it failed: rejections, and of work timeouts and lost holders too. */
  readonly attempts: number
  /** Milliseconds since 1970. */
  readonly at: number
  /** The frame as it was stored; of a record for several broadcasts the JSON of `{ "from": number, "to": number }`, the log's numbers from the first unsettled one on. */
  readonly text: string
}

export interface Redrive {
  readonly position: string
  /** The frame to be pushed, ending in `,"attempt":1}`: without its time to live, if that is what ended it. */
  readonly text: string
  /** Milliseconds since 1970, or null. */
  readonly expiresAt: number | null
}

/**
 * `redriven`: stored once more where it was, at the end, with no failed attempts and without a receipt (it had its final one), and not a dead letter any more.
 * `gone`: no such dead letter. `unknown_target`: its agent is not registered. `inbox_full`, `quota_exceeded`: no room. `not_a_message`: the record stands for several broadcasts.
 */
export type RedriveOutcome =
  | 'redriven'
  | 'gone'
  | 'unknown_target'
  | 'inbox_full'
  | 'quota_exceeded'
  | 'not_a_message'

/** What was given up, kept with its reason; the oldest goes beyond `deadMax`. Each new one is told by a `dead` signal on the feed. */
export interface DeadLetters {
  /** In the order they came, after `position` (null: from the start), at most `limit`. */
  list(namespace: string, position: string | null, limit: number): Promise<readonly DeadLetter[]>
  /** Those at these positions, in that order; unknown ones are left out. */
  get(namespace: string, positions: readonly string[]): Promise<readonly DeadLetter[]>
  /** `kept`: how many there are. `dropped`: how many were ever lost because there were more than `deadMax`. */
  count(namespace: string): Promise<{ readonly kept: number; readonly dropped: number }>
  /**
   * Stores dead letters once more: work in its queue, others in the lane of their agent (`replies` where `messageType` is `response`), told like a new message.
   * Answers in the order of `redrives`.
   */
  redrive(namespace: string, redrives: readonly Redrive[]): Promise<readonly RedriveOutcome[]>
  /** Deletes; unknown ones are ignored. Answers how many there were. */
  purge(namespace: string, positions: readonly string[]): Promise<number>
}
