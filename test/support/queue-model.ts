import type { Joined } from './core.ts'

/** Of the queues that are compared with a {@link ModelQueue}. */
export const MAX_ATTEMPTS = 3
export const WORKERS = ['ann', 'ben', 'cid'] as const
export type Worker = (typeof WORKERS)[number]

export interface ModelTask {
  readonly id: string
  readonly expired: boolean
  readonly receipt: boolean
  holder: Worker | null
  lostBy: Worker | null
  delayed: boolean
  claim: number
  pushes: number
  attempts: number
  told: boolean
}

interface ModelAgent {
  session: Joined
  capable: boolean
  connected: boolean
  /** Its connection is lost, and the grace period over. */
  due: boolean
}

/** A hold that some agent has or had. */
export interface Hold {
  readonly agentId: Worker
  readonly id: string
  readonly claim: number
  readonly fence: number
}

/** One queue as the port describes it: a list. */
export class ModelQueue {
  readonly tasks: ModelTask[] = []
  readonly agents = new Map<Worker, ModelAgent>()
  readonly dead: { messageId: string; agentId: string | null; reason: string; attempts: number }[] = []
  readonly receipts: { id: string; agentId: string | null; status: string; reason: string | null }[] = []
  sent = 0

  heldBy(agentId: Worker): ModelTask[] {
    return this.tasks.filter(({ holder }) => holder === agentId)
  }

  /** Those that anybody may have; what has expired may be found and given up at any time. */
  get waiting(): ModelTask[] {
    return this.tasks.filter(({ holder, delayed, expired }) => holder === null && !delayed && !expired)
  }

  firstFor(agentId: Worker): ModelTask | undefined {
    const fellow = [...this.agents].some(
      ([id, { capable, connected }]) => id !== agentId && capable && connected,
    )
    return this.waiting.find(({ lostBy }) => !fellow || lostBy !== agentId)
  }

  find({ agentId, id, claim }: Hold): ModelTask | undefined {
    return this.tasks.find((task) => task.id === id && task.holder === agentId && task.claim === claim)
  }

  remove(task: ModelTask): void {
    this.tasks.splice(this.tasks.indexOf(task), 1)
  }

  tell(task: ModelTask, agentId: string | null, status: string, reason: string | null = null): void {
    if (task.receipt) this.receipts.push({ id: task.id, agentId, status, reason })
  }

  progress(task: ModelTask, agentId: Worker): void {
    if (!task.told) this.tell(task, agentId, 'in_progress')
    task.told = true
  }

  settle(task: ModelTask, agentId: Worker): void {
    this.remove(task)
    this.tell(task, agentId, 'acked')
  }

  giveUp(task: ModelTask, reason: string): void {
    this.remove(task)
    this.dead.push({ messageId: task.id, agentId: task.lostBy, reason, attempts: task.attempts })
    if (reason === 'expired') this.tell(task, task.lostBy, 'expired')
    else this.tell(task, task.lostBy, 'dead_lettered', reason)
  }

  /** Answers whether it waits again. */
  lose(task: ModelTask, failed: boolean, reason: string, requeue = true): boolean {
    task.lostBy = task.holder
    task.holder = null
    if (failed) task.attempts += 1
    if (requeue && task.attempts < MAX_ATTEMPTS) return true
    this.giveUp(task, reason)
    return false
  }

  loseAll(agentId: Worker, failed: boolean): void {
    for (const task of this.heldBy(agentId)) this.lose(task, failed, 'holder_lost')
  }
}
