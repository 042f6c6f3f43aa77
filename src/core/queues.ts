/** A message of a work queue that one agent holds. */
export interface Task {
  readonly id: string
  readonly capability: string
  /** The frame to push, ending in `,"attempt":1}`. */
  readonly text: string
  /** How often it was pushed, the coming push included: once for each claim and for each session that resumed one. */
  readonly attempt: number
  /** Counts the claims of this message: what is told of an earlier one has no effect. */
  readonly claim: number
}

/** An agent with room, in the order in which room is to be filled: one message each, then the next round. */
export interface Claimant {
  readonly agentId: string
  /** Of its live session; another one is granted nothing. */
  readonly fence: number
  /** How many it takes now, at least 1. */
  readonly room: number
  /** How many it may hold at all: held ones that the hub has not heard of count too. */
  readonly concurrency: number
}

/** One message as one agent holds it. */
export interface Hold {
  readonly agentId: string
  readonly id: string
  readonly claim: number
}

export interface Release extends Hold {
  /** Of the session that gives it back: refused where the agent has another one by now. */
  readonly fence: number
  /**
   * `rejected`: by a `nack`; counts as a failed attempt. `unpushed`: it never reached the agent; nothing is counted and nobody is passed over.
   */
  readonly cause: 'rejected' | 'unpushed'
  /** False: dead-lettered now. */
  readonly requeue: boolean
  /** Milliseconds until anybody may have it again. */
  readonly delayMs: number
  readonly reason: string | null
}

export type ReleaseResult =
  /** Waits in its queue again, from `dueAt` on (the store's clock, milliseconds since 1970; null: at once). */
  | { readonly outcome: 'requeued'; readonly dueAt: number | null }
  | { readonly outcome: 'dead' }
  /** That agent does not hold it (any more), or not by that claim or session: nothing was done. */
  | { readonly outcome: 'gone' }

/** What the work queues of a namespace hold. */
export interface Backlog {
  /** Queues that are not empty. */
  readonly queues: number
  /** Their entries: waiting, delayed and held. */
  readonly messages: number
  /** Milliseconds since the one that waits for longest was stored; null where none waits. */
  readonly oldestMs: number | null
}

/** How full a queue is. */
export interface QueueDepth {
  readonly capability: string
  /** All: those that wait, delayed ones, and those that agents hold. */
  readonly entries: number
  /** Anybody may have them now. */
  readonly waiting: number
  /** Nobody may have them before their delay is over. */
  readonly delayed: number
  /** Agents hold them. */
  readonly inProgress: number
  /** When the oldest of those that wait was stored (milliseconds since 1970, the store's clock); null where none waits. */
  readonly oldestAt: number | null
}

/**
 * Work queues, one for each capability that somebody sent work to. A message waits in the order it was stored, is held by one agent at a time, and
 * ends when its holder settles it or it is given up. Added by `Sends`.
 *
 * A holder loses a message by `release`, by a claim older than `ackTimeoutMs` that was not extended, and with its
 * registration: at once by `leave` with `keep` or `unregister` (counts as no failed attempt), when the grace period of
 * `lost` is over (`Registry.expire`), and by its removal for a newcomer with its name. A message lost goes back to its
 * place in the order; it is not claimed for the agent that lost it last while another connected agent has the
 * capability. With `maxAttempts` failed attempts (rejections, timeouts, holders lost) it is given up instead, for the last `nack`'s reason, `max_attempts`,
 * `ack_timeout` or `holder_lost`; where its time to live is over, as `expired`.
 *
 * Whenever something begins to wait, a `queued` signal is on the feed.
 */
export interface Queues {
  /**
   * Gives waiting messages of one queue to agents with room, in order, in rounds of one message for each. Expired ones on the way are
   * given up. `left`: how many wait now that nobody of the claimants took.
   */
  claim(
    namespace: string,
    capability: string,
    claimants: readonly Claimant[],
  ): Promise<{ readonly tasks: readonly (Task & { readonly agentId: string })[]; readonly left: number }>
  /** At the start of a session: what the agent still holds from the one before, each pushed once more, with a new deadline. Empty for another fence than the live one. */
  resume(namespace: string, agentId: string, fence: number): Promise<readonly Task[]>
  /** What the agent holds, for a hub that may have missed the answer to a claim. Changes nothing. */
  held(namespace: string, agentId: string): Promise<readonly Task[]>
  /** Puts the deadline of each off to `ackTimeoutMs` from now; the first time of a claimed message with a receipt its sender is told `in_progress`. */
  extend(namespace: string, holds: readonly Hold[]): Promise<void>
  /** Processed: deletes each that its agent holds by that claim, whatever its session; others are ignored. Repeating it is safe. */
  settle(namespace: string, holds: readonly Hold[]): Promise<void>
  release(namespace: string, release: Release): Promise<ReleaseResult>
  /**
   * What time does, at most `limit` of it: delayed messages wait again, claims past their deadline are lost (a `revoked` signal tells the holder's hub),
   * waiting ones whose time to live is over are given up, and those that no registered agent could have taken for `retentionMs`.
   * Any hub may do it. Answers how many it dealt with.
   */
  tick(namespace: string, limit: number): Promise<number>
  /** Entries of a queue: waiting, delayed and held. */
  size(namespace: string, capability: string): Promise<number>
  /** All queues of a namespace together. For the age at most `limit` of them are looked at. Changes nothing. */
  backlog(namespace: string, limit: number): Promise<Backlog>
  /** Queues that have entries, in the order of their capabilities' UTF-16 units, after `capability` (null: from the start), at most `limit`. */
  list(namespace: string, capability: string | null, limit: number): Promise<readonly QueueDepth[]>
}
