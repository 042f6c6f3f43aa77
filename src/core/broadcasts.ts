import type { Rejection, RejectResult } from './inboxes.ts'

export interface BroadcastEntry {
  /** Counts from 1 in each namespace, without gaps. */
  readonly number: number
  /** The frame to push, ending in `,"attempt":1}`. */
  readonly text: string
  readonly from: string
  /** The sender gets it too. */
  readonly echo: boolean
  /** Who it is owed to; null: everyone whose cursor started before it. */
  readonly recipients: readonly string[] | null
  readonly expiresAt: number | null
}

/** What an agent has settled: everything up to `upTo`, and some beyond it. An agent's cursor starts at the log's head when it registers. */
export interface Cursor {
  readonly upTo: number
  readonly beyond: readonly number[]
}

/**
 * One log of broadcasts a namespace, and a cursor an agent. The log keeps its latest `broadcastMax` entries. Entries are
 * added by `Sends`.
 */
export interface Broadcasts {
  /**
   * The cursor of a registered agent at the start of a session. Where the log was cut beyond it, one record goes to the dead
   * letters (`broadcast_log_cut`) and the cursor is put before the first entry left. An unregistered agent's cursor is at the head.
   */
  open(namespace: string, agentId: string): Promise<Cursor & { readonly head: number }>
  /** The entries numbered above `after`, in order, at most `limit`; `head`: the last number given. */
  read(
    namespace: string,
    after: number,
    limit: number,
  ): Promise<{ readonly entries: readonly BroadcastEntry[]; readonly head: number }>
  /** Adds to what was settled: a cursor never goes back, and stands behind the last entry settled without a gap. Ignored for agents that are not registered, and where `upTo` lies beyond the log's head: that was read before a loss of data. Repeating it is safe. */
  settle(namespace: string, cursors: readonly ({ readonly agentId: string } & Cursor)[]): Promise<void>
  /**
   * Moves an agent's copy of an entry to the end of its `inbox` lane (whatever `inboxMax` says) with one rejection, or, without `requeue` or when `maxAttempts` is 1, to
   * the dead letters; either way it is settled in the log for this agent.
   */
  reject(namespace: string, rejection: Rejection): Promise<RejectResult>
}
