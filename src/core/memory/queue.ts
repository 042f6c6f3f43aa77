import type { Scheduled } from './schedule.ts'
import { StoredTask, type NewTask } from './task.ts'
import { WaitingTasks } from './waiting.ts'

/** The work queue of one capability. It is scheduled while no registered agent has the capability. */
export class MemoryQueue implements Scheduled {
  slot = -1
  /** When it must be looked at, milliseconds since 1970; read only while it is scheduled. */
  deadline = 0
  readonly capability: string
  /** Waiting, delayed and held, by number, in order. */
  readonly tasks = new Map<number, StoredTask>()
  readonly waiting = new WaitingTasks()
  /** Since when no registered agent has the capability, milliseconds since 1970; null while one has it. */
  orphanedAt: number | null
  #head = 0

  constructor(capability: string, orphanedAt: number | null) {
    this.capability = capability
    this.orphanedAt = orphanedAt
  }

  /** At the end; it does not wait yet. */
  append(task: NewTask, at: number): StoredTask {
    const number = (this.#head += 1)
    const stored = new StoredTask(this.capability, number, task, at)
    this.tasks.set(number, stored)
    return stored
  }
}
