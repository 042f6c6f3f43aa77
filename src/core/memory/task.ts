import type { Task } from '../queues.ts'
import type { Scheduled } from './schedule.ts'

/** When something happens to a task by itself: its delay, its claim or its time to live is over. */
export interface Alarm extends Scheduled {
  readonly task: StoredTask
  /** Milliseconds since 1970; read only while it is scheduled. */
  at: number
}

/** Who may hold tasks: an agent. */
export interface Holder {
  readonly id: string
  /** By message id. */
  readonly holding: Map<string, StoredTask>
}

/** A task that has no place yet. */
export interface NewTask {
  readonly id: string
  readonly text: string
  readonly expiresAt: number | null
  /** The agent that is told how it fares; null: nobody. */
  readonly receiptTo: string | null
  /** That one is told of a failure only. */
  readonly isQuiet?: boolean
}

/** A message of a work queue. Its slot is that of its place among those that wait. */
export class StoredTask implements NewTask, Scheduled {
  slot = -1
  readonly capability: string
  /** Its place in the order of its queue, and of its namespace. */
  readonly number: number
  readonly id: string
  readonly text: string
  readonly expiresAt: number | null
  readonly receiptTo: string | null
  readonly isQuiet: boolean
  /** Milliseconds since 1970. */
  readonly storedAt: number
  readonly alarm: Alarm = { slot: -1, at: 0, task: this }
  holder: Holder | null = null
  /** Fence of the latest session that took it over from one before. */
  resumedBy: number | null = null
  /** The agent that lost it last. */
  lostBy: string | null = null
  claim = 0
  pushes = 0
  /** How often it failed. */
  attempts = 0
  /** The sender has been told that somebody works on it. */
  inProgress = false

  constructor(capability: string, number: number, task: NewTask, storedAt: number) {
    this.capability = capability
    this.number = number
    this.id = task.id
    this.text = task.text
    this.expiresAt = task.expiresAt
    this.receiptTo = task.receiptTo
    this.isQuiet = task.isQuiet ?? false
    this.storedAt = storedAt
  }

  hasExpired(now: number): boolean {
    return this.expiresAt !== null && this.expiresAt <= now
  }

  /** What its holder is pushed. */
  toTask(): Task {
    const { id, capability, text, pushes, claim } = this
    return { id, capability, text, attempt: pushes, claim }
  }
}
