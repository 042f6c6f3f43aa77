import { LIMITS } from '../../../protocol/limits.ts'
import { addMark, parseMarks } from '../attempts.ts'
import type { Lane } from '../inboxes.ts'
import type { AgentRecord, PushMarks } from '../registry.ts'
import { MemoryCursor } from './cursor.ts'
import type { InboxBytes } from './inbox-bytes.ts'
import { MemoryLane, type Expiries } from './lane.ts'
import { MemoryProducer } from './producer.ts'
import type { Scheduled } from './schedule.ts'
import type { Holder, StoredTask } from './task.ts'

const NO_MARKS: PushMarks = { inbox: '', replies: '', broadcasts: '' }

/** Everything stored of one registered agent. */
export class MemoryAgent implements Scheduled, Holder {
  readonly id: string
  record: AgentRecord
  /** Of the latest session; it lives while `record.state.connected`. */
  fence = 0
  /** Of an agent that lives by heartbeats: the latest one, milliseconds since 1970. */
  beatAt = 0
  sessionHash = ''
  /** When the state must change next, milliseconds since 1970; read only while it is scheduled. */
  deadline = 0
  slot = -1
  marks = NO_MARKS
  readonly inbox: MemoryLane
  readonly replies: MemoryLane
  readonly cursor: MemoryCursor
  readonly holding = new Map<string, StoredTask>()
  // The one heard of last comes last. Only the producer of the latest session sends, so registering is all there is to hear.
  readonly #producers = new Map<string, MemoryProducer>()

  constructor(record: AgentRecord, logHead: number, expiries: Expiries, inboxBytes: InboxBytes) {
    this.id = record.id
    this.record = record
    this.inbox = new MemoryLane(record.id, 'inbox', expiries, inboxBytes)
    this.replies = new MemoryLane(record.id, 'replies', expiries, inboxBytes)
    this.cursor = new MemoryCursor(logHead)
  }

  lane(lane: Lane): MemoryLane {
    return lane === 'inbox' ? this.inbox : this.replies
  }

  producer(id: string): MemoryProducer {
    return this.#producers.get(id) ?? this.hear(id)
  }

  /** The producer has registered with the present fence. */
  hear(id: string): MemoryProducer {
    const producer = this.#producers.get(id) ?? new MemoryProducer(this.fence.toString(36))
    this.#producers.delete(id)
    this.#producers.set(id, producer)
    for (const oldest of this.#producers.keys()) {
      if (this.#producers.size <= LIMITS.producersMax) break
      this.#producers.delete(oldest)
    }
    return producer
  }

  /** The session ended and nobody can say how far it pushed: it may have pushed everything there is. */
  markAllPushed(logHead: number): void {
    const { inbox, replies, cursor, marks } = this
    this.marks = {
      inbox: addMark(parseMarks(marks.inbox), inbox.head, inbox.first),
      replies: addMark(parseMarks(marks.replies), replies.head, replies.first),
      broadcasts: addMark(parseMarks(marks.broadcasts), logHead, cursor.upTo + 1),
    }
  }
}

/** Whether somebody may act for an agent; `owner` null or absent: ownership is not looked at. */
export const isOwnedBy = ({ record }: MemoryAgent, owner: string | null | undefined): boolean =>
  owner == null || record.state.owner === owner
