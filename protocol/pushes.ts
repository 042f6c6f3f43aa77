import type { AgentInfo } from './agent.ts'
import type { MessageType, Via } from './message.ts'
import type { LeaderInfo } from './replies.ts'

/** Hub → client: what nobody asked for by a `ref`. */
export type Push = Message | Event | Snapshot | Ping | Pong | Goaway

export interface Message<Payload = unknown> {
  readonly type: 'message'
  readonly id: string
  /** The sender's agent id, stamped by the hub. */
  readonly from: string
  readonly via: Via
  readonly group?: string
  readonly capability?: string
  readonly messageType: MessageType
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
        readonly messageId: string
        readonly agentId: string
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
