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
  /** The hub's clock, ISO 8601 UTC. */
  readonly time: string
  readonly heartbeat: { readonly intervalMs: number; readonly timeoutMs: number }
  readonly limits: {
    readonly maxMessageBytes: number
    readonly maxPayloadBytes: number
    readonly window: number
  }
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
