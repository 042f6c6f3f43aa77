import type { CoreLimits } from '../core.ts'
import { MemoryQueue } from './queue.ts'
import { Schedule } from './schedule.ts'
import { StoredTask, type Alarm, type Holder, type NewTask } from './task.ts'

/** The work queues of a namespace: which task is where, and what wakes it. */
export class Work {
  readonly #limits: CoreLimits
  readonly #queues = new Map<string, MemoryQueue>()
  #head = 0
  /** What happens to single tasks. */
  readonly alarms = new Schedule<Alarm>((alarm) => alarm.at)
  /** Queues that no registered agent could take from. */
  readonly orphans = new Schedule<MemoryQueue>((queue) => queue.deadline)

  constructor(limits: CoreLimits) {
    this.#limits = limits
  }

  /** Whether nothing is stored at all. */
  get isEmpty(): boolean {
    return this.#queues.size === 0
  }

  get queues(): Iterable<MemoryQueue> {
    return this.#queues.values()
  }

  find(capability: string): MemoryQueue | undefined {
    return this.#queues.get(capability)
  }

  /** Every queue that is not empty. */
  all(): IterableIterator<MemoryQueue> {
    return this.#queues.values()
  }

  /** Whether a queue takes no more. */
  isFull(capability: string): boolean {
    const { queueMax } = this.#limits
    return queueMax > 0 && (this.#queues.get(capability)?.tasks.size ?? 0) >= queueMax
  }

  /** A new task at the end of its queue, waiting; one that is there already stays as it is. `capable`: a registered agent has the capability. */
  add(capability: string, capable: boolean, task: NewTask, at: number): void {
    let queue = this.#queues.get(capability)
    if (queue === undefined) {
      queue = new MemoryQueue(capability, capable ? null : at)
      this.#queues.set(capability, queue)
      if (!capable) this.#watch(queue, at)
    }
    if (queue.tasks.has(task.id)) return
    const stored = new StoredTask(capability, (this.#head += 1), task, at)
    queue.tasks.set(task.id, stored)
    this.wait(stored)
  }

  /** Nobody holds it, and anybody may. */
  wait(task: StoredTask): void {
    this.#free(task)
    this.#queues.get(task.capability)?.waiting.add(task)
    this.#wake(task, task.expiresAt)
  }

  /** Nobody holds it, and nobody may before `dueAt`. */
  delay(task: StoredTask, dueAt: number): void {
    this.#free(task)
    this.#wake(task, Math.min(dueAt, task.expiresAt ?? dueAt))
  }

  /** Given to an agent, to be pushed now. */
  claim(task: StoredTask, holder: Holder, at: number): void {
    this.#queues.get(task.capability)?.waiting.remove(task)
    task.holder = holder
    task.claim += 1
    task.pushes += 1
    holder.holding.set(task.id, task)
    this.extend(task, at)
  }

  /** Pushed once more by the session `fence`, however often it asks. */
  resume(task: StoredTask, fence: number, at: number): void {
    if (task.resumedBy !== fence) task.pushes += 1
    task.resumedBy = fence
    this.extend(task, at)
  }

  /** Its holder has all the time for an acknowledgement again. */
  extend(task: StoredTask, at: number): void {
    const { ackTimeoutMs } = this.#limits
    this.#wake(task, ackTimeoutMs === 0 ? null : at + ackTimeoutMs)
  }

  /** Settled or given up. */
  delete(task: StoredTask): void {
    this.#free(task)
    this.alarms.remove(task.alarm)
    const queue = this.#queues.get(task.capability)
    if (queue === undefined) return
    queue.waiting.remove(task)
    queue.tasks.delete(task.id)
    if (queue.tasks.size > 0) return
    this.orphans.remove(queue)
    this.#queues.delete(task.capability)
  }

  /** No registered agent has the capability any more. */
  orphan(capability: string, at: number): void {
    const queue = this.#queues.get(capability)
    if (queue === undefined) return
    queue.orphanedAt = at
    this.#watch(queue, at)
  }

  /** A registered agent has the capability. */
  adopt(capability: string): void {
    const queue = this.#queues.get(capability)
    if (queue === undefined) return
    queue.orphanedAt = null
    this.orphans.remove(queue)
  }

  /** Tasks that nobody could have taken for `retentionMs`, at most `limit`; to be given up now. */
  abandoned(now: number, limit: number): StoredTask[] {
    const found: StoredTask[] = []
    while (found.length < limit) {
      const queue = this.orphans.take(now)
      if (queue === undefined) break
      let since = now
      for (const task of queue.tasks.values()) {
        // These are few: their holders gave up the capability, not the work.
        if (task.holder !== null) continue
        since = Math.max(task.storedAt, queue.orphanedAt ?? now)
        if (found.length === limit || since + this.#limits.retentionMs > now) break
        found.push(task)
        since = now
      }
      // It is looked at again when its first task left may be one of them.
      this.#watch(queue, since)
    }
    return found
  }

  #watch(queue: MemoryQueue, since: number): void {
    this.orphans.remove(queue)
    const { retentionMs } = this.#limits
    if (retentionMs === 0) return
    queue.deadline = since + retentionMs
    this.orphans.add(queue)
  }

  #free(task: StoredTask): void {
    task.holder?.holding.delete(task.id)
    task.holder = null
    task.resumedBy = null
  }

  #wake(task: StoredTask, at: number | null): void {
    this.alarms.remove(task.alarm)
    if (at === null) return
    task.alarm.at = at
    this.alarms.add(task.alarm)
  }
}
