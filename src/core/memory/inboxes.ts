import type {
  Entry,
  Inboxes,
  Lane,
  LaneDepth,
  Member,
  Reading,
  Rejection,
  RejectResult,
  Settlement,
  Unread,
} from '../inboxes.ts'
import { isOwnedBy } from './agent.ts'
import { messageIdOf } from './endings.ts'
import type { MemoryLane } from './lane.ts'
import type { Namespaces } from './namespaces.ts'

export class MemoryInboxes implements Inboxes {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async read(
    name: string,
    agentId: string,
    laneName: Lane,
    after: number,
    limit: number,
  ): Promise<{ entries: readonly Entry[]; head: number }> {
    const lane = this.#namespaces.find(name)?.agents.get(agentId)?.lane(laneName)
    return lane === undefined
      ? { entries: [], head: 0 }
      : { entries: lane.after(after, limit), head: lane.head }
  }

  async unread(name: string, readings: readonly Reading[]): Promise<Unread[]> {
    const agents = this.#namespaces.find(name)?.agents
    return readings
      .map(({ agentId, inbox, replies }) => {
        const agent = agents?.get(agentId)
        return {
          agentId,
          inbox: hasMore(agent?.inbox, inbox),
          replies: hasMore(agent?.replies, replies),
          work: (agent?.holding.size ?? 0) > 0,
        }
      })
      .filter(({ inbox, replies, work }) => inbox || replies || work)
  }

  async depth(name: string, agentId: string): Promise<Readonly<Record<Lane, LaneDepth>> | null> {
    const agent = this.#namespaces.find(name)?.agents.get(agentId)
    return agent === undefined ? null : { inbox: depthOf(agent.inbox), replies: depthOf(agent.replies) }
  }

  async peek(
    name: string,
    { agentId, door, owner }: Member,
    maxBytes: number,
  ): Promise<readonly string[] | 'not_owner'> {
    const agent = this.#namespaces.find(name)?.agents.get(agentId)
    if (agent?.record.state.door !== door) return []
    if (!isOwnedBy(agent, owner)) return 'not_owner'
    const now = this.#namespaces.settings.now()
    const texts: string[] = []
    let bytes = 0
    for (const lane of [agent.inbox, agent.replies]) {
      for (const { text, expiresAt } of lane.after(0, Number.POSITIVE_INFINITY)) {
        if (expiresAt !== null && expiresAt <= now) continue
        bytes += text.length
        if (bytes > maxBytes && texts.length > 0) return texts
        texts.push(text)
      }
    }
    return texts
  }

  async acknowledge(
    name: string,
    { agentId, door, owner }: Member,
    messageIds: readonly string[],
  ): Promise<'done' | 'not_owner'> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (namespace === undefined || agent?.record.state.door !== door) return 'done'
    if (!isOwnedBy(agent, owner)) return 'not_owner'
    const ids = new Set<string | null>(messageIds)
    const at = this.#namespaces.settings.now()
    for (const lane of [agent.inbox, agent.replies]) {
      for (const { number, text } of lane.after(0, Number.POSITIVE_INFINITY)) {
        if (!ids.has(messageIdOf(text))) continue
        const entry = lane.take(number)
        if (entry !== undefined) namespace.endings.settle(entry, agentId, at)
      }
    }
    return 'done'
  }

  async settle(name: string, settlements: readonly Settlement[]): Promise<void> {
    const namespace = this.#namespaces.find(name)
    if (namespace === undefined) return
    const at = this.#namespaces.settings.now()
    for (const { agentId, lane: laneName, numbers } of settlements) {
      const lane = namespace.agents.get(agentId)?.lane(laneName)
      if (lane === undefined) continue
      for (const number of numbers) {
        const entry = lane.take(number)
        if (entry !== undefined) namespace.endings.settle(entry, agentId, at)
      }
    }
  }

  async reject(name: string, laneName: Lane, rejection: Rejection): Promise<RejectResult> {
    const { agentId, fence, number, requeue, delayMs, reason } = rejection
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (fence !== undefined && fence !== agent?.fence) return { outcome: 'gone' }
    const lane = agent?.lane(laneName)
    const entry = lane?.get(number)
    if (namespace === undefined || lane === undefined || entry === undefined) return { outcome: 'gone' }
    const { limits, now } = this.#namespaces.settings
    entry.rejections += 1
    if (!requeue || (limits.maxAttempts > 0 && entry.rejections >= limits.maxAttempts)) {
      lane.take(number)
      namespace.endings.giveUpEntry(entry, reason || 'max_attempts', now())
      return { outcome: 'dead' }
    }
    entry.dueAt = now() + delayMs
    return { outcome: 'requeued', number, rejections: entry.rejections }
  }

  async progress(name: string, { agentId, lane: laneName, numbers }: Settlement): Promise<void> {
    const namespace = this.#namespaces.find(name)
    const lane = namespace?.agents.get(agentId)?.lane(laneName)
    if (namespace === undefined || lane === undefined) return
    const at = this.#namespaces.settings.now()
    for (const number of numbers) {
      const entry = lane.get(number)
      if (entry !== undefined) namespace.endings.progress(entry, agentId, at)
    }
  }

  async expire(name: string, { agentId, lane: laneName, numbers }: Settlement): Promise<void> {
    const namespace = this.#namespaces.find(name)
    const lane = namespace?.agents.get(agentId)?.lane(laneName)
    if (namespace === undefined || lane === undefined) return
    const at = this.#namespaces.settings.now()
    for (const number of numbers) {
      const entry = lane.take(number)
      if (entry !== undefined) namespace.endings.giveUpEntry(entry, null, at)
    }
  }

  async expireAbsent(name: string, limit: number): Promise<number> {
    const namespace = this.#namespaces.find(name)
    if (namespace === undefined) return 0
    const at = this.#namespaces.settings.now()
    let count = 0
    while (count < limit) {
      const entry = namespace.expiries.take(at)
      if (entry === undefined) break
      entry.lane.take(entry.number)
      namespace.endings.giveUpEntry(entry, null, at)
      count += 1
    }
    return count
  }
}

const depthOf = (lane: MemoryLane): LaneDepth => ({
  entries: lane.size,
  oldest: lane.after(0, 1)[0]?.text ?? null,
})

/** Whether a lane has entries above `read`, or has lost what was read of it. */
function hasMore(lane: MemoryLane | undefined, read: number): boolean {
  if (lane === undefined || lane.head === 0) return read > 0
  return lane.after(read, 1).length > 0
}
