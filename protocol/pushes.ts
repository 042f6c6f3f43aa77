import type { AgentInfo } from './agent.ts'
import type { MessageType, Via } from './message.ts'
import type { LeaderInfo } from './replies.ts'

/** Hub → client: what nobody asked for by a `ref`. */
export type Push =
  | Message
  | Receipt
  | Revoked
  | Event
  | Snapshot
  | Ping
  | Pong
  | Goaway
  | StreamOpened
  | StreamCredited
  | StreamChunked
  | StreamEnded
  | StreamCancelled

export interface Message<Payload = unknown> {
  readonly type: 'message'
  readonly id: string
  /** The sender's agent id, stamped by the hub. */
  readonly from: string
  readonly via: Via
  readonly group?: string
  readonly capability?: string
  readonly messageType: MessageType
  /** With `custom`: the type as a member over HTTP wrote it, where `messageType` cannot say it. */
  readonly customType?: string
  readonly payload: Payload
  readonly correlationId?: string
  /** ISO 8601 UTC. */
  readonly createdAt: string
  readonly expiresAt?: string
  readonly traceparent?: string
  /** Pushed once and stored nowhere: needs no acknowledgement. */
  readonly transient?: true
  /** How often it was pushed, this time included. */
  readonly attempt: number
}

/** What became of a message that was sent with `receipt`; acknowledged by `receiptId`. */
export interface Receipt {
  readonly type: 'receipt'
  readonly receiptId: string
  /** Of the message. */
  readonly id: string
  /** Who acknowledged it, works on it or had it last; null where nobody did. */
  readonly agentId: string | null
  /** All but `in_progress` are final. */
  readonly status: 'in_progress' | 'acked' | 'expired' | 'dead_lettered'
  /** Of `dead_lettered`: the last nack's, or why the hub gave it up. */
  readonly reason: string | null
  /** Of `expired` and `dead_lettered`: that of the message, if it has one. */
  readonly correlationId?: string
  /** ISO 8601 UTC. */
  readonly at: string
}

/** Work that the client held belongs to somebody else now: stop it, an acknowledgement has no effect any more. */
export interface Revoked {
  readonly type: 'revoked'
  readonly ids: readonly string[]
  readonly reason: string
}

/** Another agent opens a stream to this one; `stream` is the id that the hub chose for it here. */
export interface StreamOpened {
  readonly type: 'stream.open'
  readonly stream: string
  readonly from: string
  readonly correlationId?: string
}

/** The receiver takes so many chunks more. */
export interface StreamCredited {
  readonly type: 'stream.credit'
  readonly stream: string
  readonly credit: number
}

export interface StreamChunked {
  readonly type: 'stream.chunk'
  readonly stream: string
  /** Counts from 0. */
  readonly seq: number
  readonly payload: unknown
}

/** `code` is the sender's own, or of the hub: `peer_gone`, `interrupted`. */
export interface StreamError {
  readonly code: string
  readonly message: string
}

export interface StreamEnded {
  readonly type: 'stream.end'
  readonly stream: string
  /** Null: complete. */
  readonly error: StreamError | null
  /** Of the last chunk passed on; -1 before the first. Where the hub ended it. */
  readonly seq?: number
}

export interface StreamCancelled {
  readonly type: 'stream.cancel'
  readonly stream: string
  readonly reason: string | null
}

export type EventKind =
  | 'agent.registered'
  | 'agent.updated'
  | 'agent.status_changed'
  | 'agent.unregistered'
  | 'agent.heartbeat'
  | 'leader.changed'
  | 'message.dead_lettered'

interface EventBase {
  readonly type: 'event'
  readonly subscription: string
  readonly revision: number
  readonly at: string
}

export type Event = EventBase &
  (
    | {
        readonly event: 'agent.registered' | 'agent.updated' | 'agent.unregistered' | 'agent.heartbeat'
        readonly agentId: string
        readonly agent: AgentInfo
        /** False: the agent does not match the subscription's `where` any more. */
        readonly matches?: false
      }
    | {
        readonly event: 'agent.status_changed'
        readonly agentId: string
        readonly agent: AgentInfo
        readonly old: string
        readonly new: string
      }
    | {
        readonly event: 'leader.changed'
        /** The new leader, or null. */
        readonly agentId: string | null
        readonly term: number
        readonly old: string | null
      }
    | {
        readonly event: 'message.dead_lettered'
        /** Null where one record stands for several broadcasts. */
        readonly messageId: string | null
        /** Whom it was for, or who had it last; null of work that nobody had. */
        readonly agentId: string | null
        /** Of work: its queue. */
        readonly capability: string | null
        readonly reason: string
      }
  )

/** A further page of a list, or (`reset`) the list anew because the subscription could not be continued. */
export interface Snapshot {
  readonly type: 'snapshot'
  readonly subscription: string
  readonly revision: number
  readonly agents: readonly AgentInfo[]
  readonly last: boolean
  readonly reset: boolean
  readonly leader: LeaderInfo
}

export interface Ping {
  readonly type: 'ping'
}

export interface Pong {
  readonly type: 'pong'
}

export interface Goaway {
  readonly type: 'goaway'
  readonly reason: 'draining'
  /** Milliseconds after which this client should leave. */
  readonly reconnectAfterMs: number
}
