import type { ErrorCode } from '../../protocol/errors.ts'
import type { Lane } from './inboxes.ts'
import type { ReceiptWish } from './receipts.ts'
import type { Door } from './registry.ts'

/** The session that sends, as the store has to know it. One object a session: results need not repeat it. */
export interface Sender {
  readonly agentId: string
  /** Not looked at where there is a `door`. */
  readonly fence: number
  readonly hub: string
  /**
   * Who has no session is spoken for by a door: the id has to be one that lives by heartbeats of this door, or registered by nobody; an operator's
   * always the latter. Sends of it have no `seq`, and the outcome of a broadcast names its recipients.
   */
  readonly door?: Door | 'operator'
  /** With a door: who has to be the owner of an id that is registered; null or absent: ownership is not looked at. */
  readonly owner?: string | null
  /** With a door: the id has to be registered; who sends may not speak for it otherwise. */
  readonly registered?: boolean
  /** Null: this client numbers nothing. */
  readonly producer: string | null
}

export type Destination =
  /** `name`: the name that was resolved to `agentId`; the store checks that it still is so. `agentId` `""`: nobody known. */
  | { readonly kind: 'agent'; readonly agentId: string; readonly name: string | null; readonly lane: Lane }
  /** `agentId`: who leads, as far as the hub knows (`""`: nobody). */
  | { readonly kind: 'leader'; readonly agentId: string; readonly lane: Lane }
  /** A broadcast; `value` is the group or capability. */
  | {
      readonly kind: 'members'
      readonly of: 'all' | 'group' | 'capability'
      readonly value: string
      readonly echo: boolean
    }
  /** One agent that has the capability. `fail`: refused with `no_capable_agent` where no registered agent has it. */
  | { readonly kind: 'queue'; readonly capability: string; readonly ifNone: 'keep' | 'fail' }
  /** Nothing is stored but the `seq`: a transient message that the hub pushes to `recipients` when the answer is `counted`. */
  | { readonly kind: 'transient'; readonly recipients: number }
  /** Nothing is stored but the `seq` and the error that ended it. */
  | { readonly kind: 'refused'; readonly code: ErrorCode }

export interface Send {
  readonly sender: Sender
  readonly seq: number | null
  readonly to: Destination
  /** Refused with `stale_term` unless the sender leads with this term. */
  readonly asLeader: number | null
  /** The frame to push, ending in `,"attempt":1}`; `""` where nothing is stored. */
  readonly text: string
  /** Milliseconds since 1970, or null. */
  readonly expiresAt: number | null
  /** Whether the sender is told in its `replies` lane what becomes of it; of an entry of a lane or a queue. */
  readonly receipt: ReceiptWish
}

export type SendOutcome =
  /** An entry of a lane; the recipient's hub has been told by an `entry` signal unless it is the sender's hub. */
  | { readonly outcome: 'stored'; readonly agentId: string; readonly number: number }
  /** An entry of the broadcast log; every hub has been told by a `broadcast` signal, the sender's too. */
  | {
      readonly outcome: 'broadcast'
      readonly number: number
      readonly recipients: number
      /** Who they are, where a door sends; else absent. */
      readonly agentIds?: readonly string[]
    }
  /** An entry of a work queue; every hub has been told by a `queued` signal. `recipients`: registered agents that have the capability. */
  | { readonly outcome: 'queued'; readonly recipients: number }
  | { readonly outcome: 'counted' }
  /** This `seq` was stored before; nothing was done now. */
  | { readonly outcome: 'duplicate'; readonly recipients: number }
  /** Ended with this error, now or (`repeated`) the first time. */
  | { readonly outcome: 'refused'; readonly code: ErrorCode; readonly repeated: boolean }
  /**
   * The name or the leader is another agent now (`""`: nobody the hub could know), or others get copies of a broadcast than were known of (then
   * `agentId` is `""`): nothing was done, hand it in again, with that one.
   */
  | { readonly outcome: 'moved'; readonly agentId: string }
  /** Behind a `moved` one of the same sender: nothing was done, hand it in again, behind that one. */
  | { readonly outcome: 'postponed' }
  /** The sender's session is over, or the door does not speak for this id. */
  | { readonly outcome: 'fenced' }
  /** `seq` is not the next one; `expected` is. */
  | { readonly outcome: 'gap'; readonly expected: number }
  | { readonly outcome: 'too_old' }

/**
 * What agents send, group-committed: everything a namespace's hub received in a turn goes in by one call. Existence, name,
 * leader, term, the sender's fence, the `seq` and room are decided here, in the order of the batch.
 *
 * With `seq`: the next one of (agent, producer) is taken; one of the latest 1,024 answers `duplicate` or the error it
 * ended with; an older one `too_old`; a greater one `gap`. `inbox_full`, `quota_exceeded`, `unknown_target`, `no_capable_agent`, `no_leader`, `stale_term` and
 * `refused` end a `seq`; `moved`, `postponed`, `fenced` and a rejected call do not.
 *
 * To agents that live by heartbeats, who may never acknowledge, nothing is refused for want of room in their inboxes: these hold `httpInboxMax` entries for
 * `httpMessageTtlMs` each. A broadcast goes to none of them that is offline, to the others as a copy in the inbox; copies count in
 * `namespaceInboxBytesMax`, and are never refused for it.
 */
export interface Sends {
  /** Answers in the order of `batch`, which is not empty. Calls of one hub and namespace take effect in the order they were made. */
  store(namespace: string, batch: readonly Send[]): Promise<readonly SendOutcome[]>
}
