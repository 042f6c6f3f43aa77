import type { Backlog, Claimant, Hold, QueueDepth, Queues, Release, ReleaseResult, Task } from '../queues.ts'
import type { Argument } from './connections.ts'
import { runWithSenders, taskArgs, type Store } from './store.ts'

type ClaimedTask = Task & { readonly agentId: string }

export class RedisQueues implements Queues {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async claim(
    namespace: string,
    capability: string,
    claimants: readonly Claimant[],
  ): Promise<{ tasks: ClaimedTask[]; left: number }> {
    const keys = this.#store.keys.of(namespace)
    const tasks: ClaimedTask[] = []
    let open = claimants.map((claimant) => ({ ...claimant }))
    for (;;) {
      const args: Argument[] = [...taskArgs(this.#store, keys), capability]
      for (const { agentId, fence, room, concurrency } of open) args.push(agentId, fence, room, concurrency)
      const reply = (await runWithSenders(this.#store, 'claim', keys, keys.work(), args)) as (
        | string
        | number
      )[]
      const [left, more] = reply
      for (let i = 2; i < reply.length; i += 5) {
        const claimant = open[Number(reply[i])]
        if (claimant === undefined) continue
        claimant.room -= 1
        tasks.push({ agentId: claimant.agentId, ...toTask(reply, i + 1, capability) })
      }
      // One call gives up so many expired messages and no more, to let others in.
      if (more !== 1) return { tasks, left: Number(left) }
      open = open.filter(({ room }) => room > 0)
    }
  }

  async resume(namespace: string, agentId: string, fence: number): Promise<readonly Task[]> {
    return this.#held(namespace, agentId, fence)
  }

  async held(namespace: string, agentId: string): Promise<readonly Task[]> {
    return this.#held(namespace, agentId, '')
  }

  async #held(namespace: string, agentId: string, fence: number | ''): Promise<readonly Task[]> {
    const keys = this.#store.keys.of(namespace)
    const args = [...taskArgs(this.#store, keys), agentId, fence]
    const reply = (await runWithSenders(this.#store, 'held', keys, keys.work(), args)) as (string | number)[]
    const tasks: Task[] = []
    for (let i = 1; i < reply.length; i += 5) tasks.push(toTask(reply, i + 1, String(reply[i])))
    return tasks
  }

  async extend(namespace: string, holds: readonly Hold[]): Promise<void> {
    await this.#forHolds('extend', namespace, holds)
  }

  async settle(namespace: string, holds: readonly Hold[]): Promise<void> {
    await this.#forHolds('settle-tasks', namespace, holds)
  }

  async #forHolds(
    script: 'extend' | 'settle-tasks',
    namespace: string,
    holds: readonly Hold[],
  ): Promise<void> {
    if (holds.length === 0) return
    const keys = this.#store.keys.of(namespace)
    const args = taskArgs(this.#store, keys)
    for (const { agentId, id, claim } of holds) args.push(agentId, id, claim)
    await runWithSenders(this.#store, script, keys, keys.work(), args)
  }

  async release(namespace: string, release: Release): Promise<ReleaseResult> {
    const keys = this.#store.keys.of(namespace)
    const reply = await runWithSenders(this.#store, 'release', keys, keys.work(), [
      ...taskArgs(this.#store, keys),
      release.agentId,
      release.id,
      release.claim,
      release.fence,
      release.cause === 'rejected' ? 1 : 0,
      release.requeue ? 1 : 0,
      release.delayMs,
      release.reason ?? '',
    ])
    if (reply === 'dead' || reply === 'gone') return { outcome: reply }
    return { outcome: 'requeued', dueAt: reply === 0 ? null : Number(reply) }
  }

  async tick(namespace: string, limit: number): Promise<number> {
    const keys = this.#store.keys.of(namespace)
    const args = [...taskArgs(this.#store, keys), limit]
    return (await runWithSenders(this.#store, 'tick', keys, keys.work(), args)) as number
  }

  async size(namespace: string, capability: string): Promise<number> {
    const { sizes } = this.#store.keys.of(namespace)
    return Number((await this.#store.connections.call('HGET', sizes, capability)) ?? 0)
  }

  async backlog(namespace: string, limit: number): Promise<Backlog> {
    const keys = this.#store.keys.of(namespace)
    const args = [...taskArgs(this.#store, keys), limit]
    const reply = await runWithSenders(this.#store, 'backlog', keys, keys.work(), args)
    const [queues = 0, messages = 0, oldestMs = -1] = reply as number[]
    return { queues, messages, oldestMs: oldestMs < 0 ? null : oldestMs }
  }

  async list(namespace: string, capability: string | null, limit: number): Promise<readonly QueueDepth[]> {
    const keys = this.#store.keys.of(namespace)
    const known = (await this.#store.connections.call('HKEYS', keys.sizes)) as string[]
    // By UTF-16 units, like `>`.
    const page = known
      .filter((one) => capability === null || one > capability)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .slice(0, limit)
    if (page.length === 0) return []
    const reply = (await this.#store.run(keys, 'depths', [keys.states, keys.waiting, keys.sizes], page)) as (
      | string
      | number
    )[]
    const depths = page.map((one, index) => toDepth(one, reply.slice(index * 4, index * 4 + 4)))
    // Those that were empty when they were looked at.
    return depths.filter(({ entries }) => entries > 0)
  }
}

function toDepth(capability: string, reply: readonly (string | number)[]): QueueDepth {
  const [entries = 0, waiting = 0, delayed = 0] = reply.map(Number)
  const inProgress = entries - waiting - delayed
  const oldestAt = reply[3] === '' ? null : Number(reply[3])
  return { capability, entries, waiting, delayed, inProgress, oldestAt }
}

/** Id, text, attempt and claim, from place `at` on. */
function toTask(reply: readonly (string | number)[], at: number, capability: string): Task {
  return {
    id: String(reply[at]),
    capability,
    text: String(reply[at + 1]),
    attempt: Number(reply[at + 2]),
    claim: Number(reply[at + 3]),
  }
}
