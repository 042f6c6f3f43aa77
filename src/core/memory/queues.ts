import type { Backlog, Claimant, Hold, QueueDepth, Queues, Release, ReleaseResult, Task } from '../queues.ts'
import type { MemoryAgent } from './agent.ts'
import type { Namespace } from './namespace.ts'
import type { Namespaces } from './namespaces.ts'
import type { MemoryQueue } from './queue.ts'
import type { StoredTask } from './task.ts'

/** A claimant whose session lives, and what is left of its room. */
interface Taker {
  readonly agent: MemoryAgent
  readonly concurrency: number
  /** Itself, if it is passed over for what it lost last. */
  readonly passedOver: string | null
  room: number
}

export class MemoryQueues implements Queues {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async claim(
    name: string,
    capability: string,
    claimants: readonly Claimant[],
  ): Promise<{ tasks: readonly (Task & { readonly agentId: string })[]; left: number }> {
    const namespace = this.#namespaces.find(name)
    const queue = namespace?.work.find(capability)
    if (namespace === undefined || queue === undefined) return { tasks: [], left: 0 }
    const at = this.#namespaces.settings.now()
    const tasks: (Task & { agentId: string })[] = []
    let takers = takersOf(namespace, capability, claimants)
    while (takers.length > 0) {
      const again: Taker[] = []
      for (const taker of takers) {
        const { agent, passedOver } = taker
        if (agent.holding.size >= taker.concurrency) continue
        const task = firstOf(namespace, queue, passedOver, at)
        if (task === undefined) continue
        namespace.work.claim(task, agent, at)
        tasks.push({ agentId: agent.id, ...task.toTask() })
        taker.room -= 1
        if (taker.room > 0) again.push(taker)
      }
      takers = again
    }
    return { tasks, left: queue.waiting.size }
  }

  async resume(name: string, agentId: string, fence: number): Promise<readonly Task[]> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (namespace === undefined || agent === undefined || !isLive(agent, fence)) return []
    const at = this.#namespaces.settings.now()
    const tasks = heldInOrder(agent)
    for (const task of tasks) namespace.work.resume(task, fence, at)
    return tasks.map((task) => task.toTask())
  }

  async held(name: string, agentId: string): Promise<readonly Task[]> {
    const agent = this.#namespaces.find(name)?.agents.get(agentId)
    return agent === undefined ? [] : heldInOrder(agent).map((task) => task.toTask())
  }

  async extend(name: string, holds: readonly Hold[]): Promise<void> {
    const namespace = this.#namespaces.find(name)
    const at = this.#namespaces.settings.now()
    for (const hold of holds) {
      const task = heldBy(namespace, hold)
      if (namespace === undefined || task === undefined) continue
      namespace.work.extend(task, at)
      namespace.endings.progress(task, hold.agentId, at)
    }
  }

  async settle(name: string, holds: readonly Hold[]): Promise<void> {
    const namespace = this.#namespaces.find(name)
    const at = this.#namespaces.settings.now()
    for (const hold of holds) {
      const task = heldBy(namespace, hold)
      if (namespace === undefined || task === undefined) continue
      namespace.work.delete(task)
      namespace.endings.settle(task, hold.agentId, at)
    }
  }

  async release(name: string, release: Release): Promise<ReleaseResult> {
    const { agentId, fence, cause, requeue, delayMs, reason } = release
    const namespace = this.#namespaces.find(name)
    const task = heldBy(namespace, release)
    if (namespace === undefined || task === undefined || namespace.agents.get(agentId)?.fence !== fence) {
      return { outcome: 'gone' }
    }
    const rejected = cause === 'rejected'
    if (!rejected) task.pushes -= 1
    const result = namespace.endings.lose(task, {
      at: this.#namespaces.settings.now(),
      failed: rejected,
      remembered: rejected,
      requeue,
      delayMs,
      reason: reason || 'max_attempts',
    })
    if (result.outcome === 'requeued' && result.dueAt === null) {
      namespace.endings.tellQueued(new Set([task.capability]))
    }
    return result
  }

  async tick(name: string, limit: number): Promise<number> {
    const namespace = this.#namespaces.find(name)
    if (namespace === undefined) return 0
    const at = this.#namespaces.settings.now()
    const queued = new Set<string>()
    let count = 0
    for (; count < limit; count += 1) {
      const task = namespace.work.alarms.take(at)?.task
      if (task === undefined) break
      if (wake(namespace, task, at)) queued.add(task.capability)
    }
    const abandoned = namespace.work.abandoned(at, limit - count)
    for (const task of abandoned) namespace.endings.giveUpTask(task, 'retention', at)
    namespace.endings.tellQueued(queued)
    return count + abandoned.length
  }

  async size(name: string, capability: string): Promise<number> {
    return this.#namespaces.find(name)?.work.find(capability)?.tasks.size ?? 0
  }

  async backlog(name: string, limit: number): Promise<Backlog> {
    const found = { queues: 0, messages: 0, oldestMs: null as number | null }
    for (const { tasks, waiting } of this.#namespaces.find(name)?.work.all() ?? []) {
      found.queues += 1
      found.messages += tasks.size
      const first = found.queues > limit ? undefined : waiting.first(null)
      if (first === undefined) continue
      const ageMs = Math.max(0, this.#namespaces.settings.now() - first.storedAt)
      found.oldestMs = Math.max(found.oldestMs ?? 0, ageMs)
    }
    return found
  }

  async list(name: string, capability: string | null, limit: number): Promise<readonly QueueDepth[]> {
    const queues = this.#namespaces.find(name)?.work.queues ?? []
    return [...queues]
      .filter((queue) => capability === null || queue.capability > capability)
      .toSorted((a, b) => (a.capability < b.capability ? -1 : 1))
      .slice(0, limit)
      .map(depthOf)
  }
}

function depthOf({ capability, tasks, waiting }: MemoryQueue): QueueDepth {
  let inProgress = 0
  let oldestAt: number | null = null
  for (const { holder, slot, storedAt } of tasks.values()) {
    if (holder !== null) inProgress += 1
    else if (slot >= 0 && (oldestAt === null || storedAt < oldestAt)) oldestAt = storedAt
  }
  const entries = tasks.size
  return {
    capability,
    entries,
    waiting: waiting.size,
    delayed: entries - waiting.size - inProgress,
    inProgress,
    oldestAt,
  }
}

/** What the time says to a task whose alarm went off. Answers whether it waits now and did not before. */
function wake(namespace: Namespace, task: StoredTask, at: number): boolean {
  const { holder } = task
  if (holder !== null) {
    const { id, claim } = task
    const reason = 'ack_timeout'
    const { connected, hub } = namespace.agents.get(holder.id)?.record.state ?? {
      connected: false,
      hub: null,
    }
    if (connected) namespace.publish(hub, { kind: 'revoked', agentId: holder.id, id, claim, reason })
    const loss = { at, failed: true, remembered: true, requeue: true, delayMs: 0, reason }
    return namespace.endings.lose(task, loss).outcome === 'requeued'
  }
  if (task.hasExpired(at)) {
    namespace.endings.giveUpTask(task, null, at)
    return false
  }
  namespace.work.wait(task)
  return true
}

function takersOf(namespace: Namespace, capability: string, claimants: readonly Claimant[]): Taker[] {
  const takers: Taker[] = []
  for (const { agentId, fence, room, concurrency } of claimants) {
    const agent = namespace.agents.get(agentId)
    if (agent === undefined || !isLive(agent, fence)) continue
    const passedOver = namespace.workers.hasOther(capability, agent.record) ? agentId : null
    takers.push({ agent, concurrency, passedOver, room })
  }
  return takers
}

/** The first task of the queue that may be had; expired ones before it are given up. */
function firstOf(
  namespace: Namespace,
  queue: MemoryQueue,
  passedOver: string | null,
  at: number,
): StoredTask | undefined {
  for (;;) {
    const task = queue.waiting.first(passedOver)
    if (task === undefined || !task.hasExpired(at)) return task
    namespace.endings.giveUpTask(task, null, at)
  }
}

/** What an agent holds, in the order in which it was sent. */
function heldInOrder({ holding }: MemoryAgent): StoredTask[] {
  return [...holding.values()].toSorted((a, b) => a.number - b.number)
}

function isLive(agent: MemoryAgent, fence: number): boolean {
  return agent.fence === fence && agent.record.state.connected
}

function heldBy(namespace: Namespace | undefined, { agentId, id, claim }: Hold): StoredTask | undefined {
  const task = namespace?.agents.get(agentId)?.holding.get(id)
  return task?.claim === claim ? task : undefined
}
