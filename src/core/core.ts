import type { Broadcasts } from './broadcasts.ts'
import type { Bus } from './bus.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { Inboxes } from './inboxes.ts'
import type { Leases } from './leases.ts'
import type { Queues } from './queues.ts'
import type { Registry } from './registry.ts'
import type { Sends } from './sends.ts'

/**
 * State and its guarantees. One core may serve several hubs; all hubs on one store form one mesh. Every operation is atomic,
 * belongs to one namespace, and rejects with MeshError `store_unavailable` where the store does not answer: then it may
 * or may not have happened, and repeating it is safe where its description says so.
 */
export interface Core {
  readonly kind: 'memory' | 'redis'
  readonly registry: Registry
  readonly sends: Sends
  readonly inboxes: Inboxes
  readonly broadcasts: Broadcasts
  readonly queues: Queues
  readonly deadLetters: DeadLetters
  readonly leases: Leases
  readonly bus: Bus
  /** Why a message that is sent now might not be stored or not arrive, a sentence each; empty: it would. Asks the store. */
  problems(): Promise<readonly string[]>
  /** Ends connections and timers; what is stored stays (in memory: is gone). */
  close(): Promise<void>
}

/** What a core has to hold itself to; 0 switches a limit off. */
export interface CoreLimits {
  /** Registry events kept for `since`. */
  readonly eventsMax: number
  /** Entries of one inbox lane (replies are not counted). */
  readonly inboxMax: number
  /** Agents of a namespace. */
  readonly namespaceAgentsMax: number
  /** Bytes of text in all inboxes of a namespace (replies are not counted). */
  readonly namespaceInboxBytesMax: number
  /** Entries of an inbox of an agent that lives by heartbeats; beyond, the oldest is given up (`inbox_overflow`). */
  readonly httpInboxMax: number
  /** Milliseconds an entry waits in an inbox of an agent that lives by heartbeats, at most. */
  readonly httpMessageTtlMs: number
  /** Entries of a namespace's broadcast log. */
  readonly broadcastMax: number
  /** Entries of one work queue: waiting, delayed and held. */
  readonly queueMax: number
  /** Dead letters of a namespace, the oldest out. */
  readonly deadMax: number
  /** Failed attempts (rejections, timeouts, holders lost) of one message before it is given up. */
  readonly maxAttempts: number
  /** Milliseconds an agent may hold a work-queue message without a sign of progress. */
  readonly ackTimeoutMs: number
  /** Milliseconds an agent stays registered while offline. */
  readonly retentionMs: number
  /** Milliseconds a hub's lease lasts. */
  readonly hubLeaseMs: number
}
