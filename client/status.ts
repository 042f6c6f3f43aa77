import type { MessageType, Target } from '../protocol/message.ts'
import type { Message, Receipt } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import { createFeed } from './feed.ts'
import type { Feed } from './feed.ts'
import type { SchemaIssue } from './standard-schema.ts'
import type { ConnectionState } from './state.ts'

/** Something that is not a change of state, worth knowing. */
export type Incident =
  /** The hub is shutting down; the client leaves after `reconnectAfterMs` milliseconds and connects again at once. */
  | { readonly type: 'goaway'; readonly reconnectAfterMs: number }
  /** A handler threw or timed out (its message was given back), or the value it returned could not be sent as the reply. */
  | { readonly type: 'handler_failed'; readonly message: Message; readonly error: Error }
  /** The payload of a message is against its schema: no handler has seen it, and it is a dead letter now. */
  | {
      readonly type: 'invalid_payload'
      readonly message: Message
      readonly issues: readonly SchemaIssue[]
    }
  /** The hub has taken work back, for this reason; its handler was told and what it still does has no effect. */
  | { readonly type: 'revoked'; readonly message: Message; readonly reason: string }
  /** A handler finished after it timed out or its message was revoked: what it returned was dropped. */
  | { readonly type: 'late_result'; readonly message: Message }
  /** What became of a message that an earlier client of this agent sent with a receipt. */
  | { readonly type: 'receipt'; readonly receipt: Receipt }
  /** A message has no handler while other types have one; see `unhandledTimeoutMs`. */
  | { readonly type: 'unhandled'; readonly message: Message }
  /** A response that nobody waits for (any more); it was acknowledged and dropped. */
  | { readonly type: 'late_reply'; readonly message: Message }
  /** A `send` or `broadcast` was rejected, or what an earlier client had left in the outbox; not everybody looks at a promise. */
  | {
      readonly type: 'send_failed'
      readonly to: Target
      readonly messageType: MessageType
      readonly error: Error
    }
  /** What an earlier client had left in the outbox is stored. */
  | {
      readonly type: 'outbox_sent'
      readonly to: Target
      readonly messageType: MessageType
      readonly result: SendResult
    }
  /** The handler of streams threw; the stream was cancelled. */
  | { readonly type: 'stream_failed'; readonly from: string | null; readonly error: Error }
  /** The hub complained of a frame that needs no answer. */
  | { readonly type: 'complaint'; readonly error: Error }

/** What `client.status()` yields: each new state, and what else happens. Told apart by `type`. */
export type StatusEvent = ConnectionState | Incident

/** Status events that wait for one reader; of more, the oldest are dropped. */
const STATUS_MAX = 1000

/** Everybody who follows the status. */
export interface Statuses {
  /** A new reader; the first thing it reads is `state`. */
  follow(state: ConnectionState): Feed<StatusEvent>
  emit(event: StatusEvent): void
}

export function createStatuses(listener: ((event: StatusEvent) => unknown) | null): Statuses {
  const feeds = new Set<Feed<StatusEvent>>()

  function tell(feed: Feed<StatusEvent>, event: StatusEvent): void {
    feed.push(event)
    if (event.type === 'closed') feed.end()
  }

  return {
    follow(state) {
      const feed = createFeed<StatusEvent>(STATUS_MAX, () => feeds.delete(feed))
      tell(feed, state)
      feeds.add(feed)
      return feed
    },
    emit(event) {
      for (const feed of feeds) tell(feed, event)
      // In a task of its own: what it throws must not stop a change of state half-way, nor end the process.
      Promise.resolve(event)
        .then(listener)
        .catch((error: unknown) => console.error('meshwire: onStatus failed:', error))
    },
  }
}
