import type { Scheduled } from './schedule.ts'
import type { StoredTask } from './task.ts'
import { WaitingTasks } from './waiting.ts'

/** The work queue of one capability. It is scheduled while no registered agent has the capability. */
export class MemoryQueue implements Scheduled {
  slot = -1
  /** When it must be looked at, milliseconds since 1970; read only while it is scheduled. */
  deadline = 0
  readonly capability: string
  /** Waiting, delayed and held, by message id, in order. */
  readonly tasks = new Map<string, StoredTask>()
  readonly waiting = new WaitingTasks()
  /** Since when no registered agent has the capability, milliseconds since 1970; null while one has it. */
  orphanedAt: number | null

  constructor(capability: string, orphanedAt: number | null) {
    this.capability = capability
    this.orphanedAt = orphanedAt
  }
}
