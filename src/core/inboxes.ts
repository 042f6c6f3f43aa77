import type { Door } from './registry.ts'

/** `replies`: messages of type `response` and receipts. */
export type Lane = 'inbox' | 'replies'

/** An unacknowledged message of a lane. */
export interface Entry {
  /** Counts from 1 in each lane, without gaps. */
  readonly number: number
  /** The frame to push, ending in `,"attempt":1}`. */
  readonly text: string
  /** Milliseconds since 1970, or null. */
  readonly expiresAt: number | null
  /** How often it was rejected. */
  readonly rejections: number
  /** Not to be pushed before (milliseconds since 1970), or null. */
  readonly dueAt: number | null
}

export interface Settlement {
  readonly agentId: string
  readonly lane: Lane
  readonly numbers: readonly number[]
}

export interface Rejection {
  readonly agentId: string
  /** Of the session that rejects: where the agent has a later one, nothing is done (`gone`). Absent: whoever rejects may. */
  readonly fence?: number
  readonly number: number
  /** False: dead-lettered now. */
  readonly requeue: boolean
  /** Milliseconds until it may be pushed again. */
  readonly delayMs: number
  readonly reason: string | null
}

/** How far a session has read the lanes of its agent: the last number it took of each. */
export interface Reading extends Readonly<Record<Lane, number>> {
  readonly agentId: string
}

/** Where the store has what a session may not have heard of. */
export interface Unread extends Readonly<Record<Lane, boolean>> {
  readonly agentId: string
  /** The agent holds messages of work queues. */
  readonly work: boolean
}

/** What an agent has not acknowledged of a lane. */
export interface LaneDepth {
  readonly entries: number
  /** The frame of the oldest one; null where there is none. */
  readonly oldest: string | null
}

export type RejectResult =
  /** It waits as entry `number` of `lane`; `dueAt` by the store's clock. */
  | { readonly outcome: 'requeued'; readonly number: number; readonly rejections: number }
  | { readonly outcome: 'dead' }
  /** It is not there any more. */
  | { readonly outcome: 'gone' }

/** An agent that lives by heartbeats of a door: of no other one anything is told or done. */
export interface Member {
  readonly agentId: string
  readonly door: Door
  /** Who has to be its owner; null or absent: ownership is not looked at. */
  readonly owner?: string | null
}

/**
 * What is owed to each agent: two lanes of unacknowledged entries and nothing else. Acknowledged means deleted. Entries are
 * added by `Sends` (and by a rejected broadcast). Where an entry was sent with a receipt, whatever ends it (`settle`, `reject`, `expire`,
 * `expireAbsent`, or the removal of its agent) adds the one final receipt to its sender's `replies`, in the same step; see receipts.ts.
 * Receipts themselves are entries of `replies` whose text ends otherwise; the end of their agent drops them.
 */
export interface Inboxes {
  /**
   * The entries numbered above `after`, in order, at most `limit`. `head`: the last number ever given in this lane, so that
   * the reader sees whether more waits and which number comes next.
   */
  read(
    namespace: string,
    agentId: string,
    lane: Lane,
    after: number,
    limit: number,
  ): Promise<{ readonly entries: readonly Entry[]; readonly head: number }>
  /**
   * Of those agents, in order, the ones for whom there is more: a lane with an entry above the number read, or one that is gone though
   * something was read of it, or work that they hold. All are looked at in one step, so let them be some hundreds at most. Changes nothing.
   */
  unread(namespace: string, readings: readonly Reading[]): Promise<readonly Unread[]>
  /** How much an agent has not acknowledged; null where it is not registered. */
  depth(namespace: string, agentId: string): Promise<Readonly<Record<Lane, LaneDepth>> | null>
  /**
   * The texts that wait for a member, in order; nothing is taken. What is over `httpInboxMax` or too old counts as gone. About `maxBytes` of the oldest
   * at most, one at least. `not_owner`: the member is another's, or nobody's.
   */
  peek(namespace: string, member: Member, maxBytes: number): Promise<readonly string[] | 'not_owner'>
  /** Deletes a member's messages by their ids; unknown ones are ignored. Repeating it is safe. `not_owner`: nothing was deleted. */
  acknowledge(namespace: string, member: Member, messageIds: readonly string[]): Promise<'done' | 'not_owner'>
  /** Deletes entries; unknown ones are ignored. Repeating it is safe. */
  settle(namespace: string, settlements: readonly Settlement[]): Promise<void>
  /** Counts a rejection; with the last one allowed, or without `requeue`, the entry goes to the dead letters (its `reason`, else `max_attempts`). */
  reject(namespace: string, lane: Lane, rejection: Rejection): Promise<RejectResult>
  /** Somebody works on these: the sender of each that asked for a receipt is told `in_progress`, once. */
  progress(namespace: string, settlement: Settlement): Promise<void>
  /** Dead-letters entries whose time to live is over (`expired`), whatever the clock says. */
  expire(namespace: string, settlement: Settlement): Promise<void>
  /** Dead-letters what has expired in the lanes of agents that are not connected; answers how many, at most `limit`. */
  expireAbsent(namespace: string, limit: number): Promise<number>
}
