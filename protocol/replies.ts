import type { AgentInfo } from './agent.ts'
import type { Ref } from './commands.ts'
import type { ErrorBody } from './errors.ts'

/** Hub → client: exactly one of these answers each request frame, with its `ref`. */
export type Reply = Ok | Welcome | ErrorReply

export interface Ok<Result = unknown> {
  readonly type: 'ok'
  readonly ref: Ref
  readonly result: Result
}

/** `ref` is absent where the frame that was wrong had none. */
export interface ErrorReply {
  readonly type: 'error'
  readonly ref?: Ref
  readonly error: ErrorBody
}

/** The leader of a namespace: `agentId` is null while there is none, `term` then is the latest one. */
export interface LeaderInfo {
  readonly agentId: string | null
  readonly term: number
}

export interface Welcome {
  readonly type: 'welcome'
  readonly ref: Ref
  readonly protocol: number
  readonly hub: string
  readonly namespace: string
  /** Proof of this session for a later `hello`; null for an observer, like `agent`. */
  readonly session: string | null
  /** The agent was still registered, with its inbox intact. */
  readonly resumed: boolean
  readonly agent: AgentInfo | null
  readonly leader: LeaderInfo
  readonly revision: number
  /** Entries that wait in both lanes. */
  readonly pending: number
  /** Ids of the work that the agent still holds, which is pushed again; what it held otherwise belongs to others now. */
  readonly work: readonly string[]
  /** The hub's clock, ISO 8601 UTC. */
  readonly time: string
  /** When its token ends, ISO 8601 UTC: a new one is due before, by `auth`. Null: never. */
  readonly expiresAt: string | null
  readonly heartbeat: { readonly intervalMs: number; readonly timeoutMs: number }
  readonly limits: {
    readonly maxMessageBytes: number
    readonly maxPayloadBytes: number
    readonly window: number
    /** Milliseconds that work may be held without `progress` (0: without end). */
    readonly ackTimeoutMs: number
  }
}

export interface AuthResult {
  /** When the new token ends; null: never. */
  readonly expiresAt: string | null
}

export interface SendResult {
  readonly id: string
  /** Registered agents it is owed to; of a transient message: connected agents it was pushed to. */
  readonly recipients: number
  /** This `seq` was stored before; the answer is the first one. */
  readonly duplicate?: true
}

export interface DiscoverResult {
  readonly agents: readonly AgentInfo[]
  readonly cursor: string | null
}

export interface UpdateResult {
  readonly agent: AgentInfo
}

export interface LeaderResult {
  readonly leader: LeaderInfo
}

/** One page of a subscription's list; `reset` is absent or false where the list continues what `since` named. */
export interface SubscribeResult {
  readonly subscription: string
  readonly revision: number
  readonly agents: readonly AgentInfo[]
  readonly last: boolean
  readonly reset: boolean
  /** The leader as of `revision`. */
  readonly leader: LeaderInfo
}

/** A message that was given up. */
export interface DeadLetterInfo {
  /** Names it for `redrive` and `purge`. */
  readonly position: string
  /** Null where a record stands for several broadcasts, of which only the numbers in the log are known: `broadcasts`. */
  readonly messageId: string | null
  /** Whom it was for, or who had it last; null of work that nobody had. */
  readonly agentId: string | null
  /** Of work: its queue. */
  readonly capability: string | null
  readonly from: string | null
  readonly messageType: string | null
  readonly reason: string
  /** How often it failed. */
  readonly attempts: number
  /** ISO 8601 UTC; when it was sent, and when it was given up. */
  readonly createdAt: string | null
  readonly deadAt: string
  readonly broadcasts?: { readonly from: number; readonly to: number }
  /** Where the request says `"payload":true`. */
  readonly payload?: unknown
}

export interface DeadLettersListResult {
  readonly deadLetters: readonly DeadLetterInfo[]
  readonly cursor: string | null
  /** All that are kept, whether they match or not. */
  readonly kept: number
  /** How many were ever lost because there were more than the hub keeps. */
  readonly dropped: number
}

export interface DeadLettersRedriveResult {
  readonly redriven: number
  /** What could not be stored again, and stays. */
  readonly failed: readonly {
    readonly position: string
    readonly code: 'unknown_target' | 'inbox_full' | 'quota_exceeded' | 'not_a_message'
  }[]
}

export interface DeadLettersPurgeResult {
  readonly purged: number
}
