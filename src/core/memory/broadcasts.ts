import type { BroadcastEntry, Broadcasts, Cursor } from '../broadcasts.ts'
import type { Rejection, RejectResult } from '../inboxes.ts'
import type { Namespaces } from './namespaces.ts'

export class MemoryBroadcasts implements Broadcasts {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async open(name: string, agentId: string): Promise<Cursor & { head: number }> {
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (namespace === undefined || agent === undefined) {
      const head = namespace?.broadcasts.head ?? 0
      return { upTo: head, beyond: [], head }
    }
    const { cursor } = agent
    const { head, first } = namespace.broadcasts
    const cut = first - 1
    const at = this.#namespaces.settings.now()
    namespace.endings.giveUpLog(agentId, cursor.upTo + 1, cut, 'broadcast_log_cut', at)
    cursor.settle(cut, [])
    return { ...cursor.toCursor(), head }
  }

  async read(
    name: string,
    after: number,
    limit: number,
  ): Promise<{ entries: readonly BroadcastEntry[]; head: number }> {
    const log = this.#namespaces.find(name)?.broadcasts
    return log === undefined ? { entries: [], head: 0 } : { entries: log.after(after, limit), head: log.head }
  }

  async settle(name: string, cursors: readonly ({ readonly agentId: string } & Cursor)[]): Promise<void> {
    const namespace = this.#namespaces.find(name)
    if (namespace === undefined) return
    for (const { agentId, upTo, beyond } of cursors) {
      if (upTo <= namespace.broadcasts.head) namespace.agents.get(agentId)?.cursor.settle(upTo, beyond)
    }
  }

  async reject(name: string, rejection: Rejection): Promise<RejectResult> {
    const { agentId, fence, number, requeue, delayMs, reason } = rejection
    const namespace = this.#namespaces.find(name)
    const agent = namespace?.agents.get(agentId)
    if (fence !== undefined && fence !== agent?.fence) return { outcome: 'gone' }
    const entry = namespace?.broadcasts.at(number)
    if (namespace === undefined || agent === undefined || entry === undefined || agent.cursor.has(number)) {
      return { outcome: 'gone' }
    }
    agent.cursor.settle(0, [number])
    const { limits, now } = this.#namespaces.settings
    const { text, expiresAt } = entry
    if (!requeue || limits.maxAttempts === 1) {
      namespace.endings.giveUpBroadcast(agentId, text, reason || 'max_attempts', now())
      return { outcome: 'dead' }
    }
    const moved = { text, expiresAt, receiptTo: null, rejections: 1, dueAt: now() + delayMs }
    return { outcome: 'requeued', number: agent.inbox.append(moved), rejections: 1 }
  }
}
