import type { Signal } from '../bus.ts'
import type { CoreLimits } from '../core.ts'
import type { DeadLetter } from '../dead-letters.ts'
import type { Lane } from '../inboxes.ts'
import type { ReleaseResult } from '../queues.ts'
import { correlationIdOf, receiptText, type Receipt } from '../receipts.ts'
import type { MemoryAgent } from './agent.ts'
import type { DeadList } from './dead-list.ts'
import type { NewEntry, StoredEntry } from './lane.ts'
import type { StoredTask } from './task.ts'
import type { Work } from './work.ts'

const MESSAGE_ID = /^\{"type":"message","id":"([^"]*)"/

/** The id of the message that a stored frame carries; null of a receipt. */
export const messageIdOf = (text: string): string | null => MESSAGE_ID.exec(text)?.[1] ?? null

/** How a holder loses a task. */
export interface Loss {
  readonly at: number
  /** It counts as a failed attempt. */
  readonly failed: boolean
  /** The task is passed over for this holder from now on. */
  readonly remembered: boolean
  /** False: given up now. */
  readonly requeue: boolean
  readonly delayMs: number
  /** What it is given up for, if that is what follows. */
  readonly reason: string
}

/** The parts of a namespace that the end of a message touches. */
export interface Parts {
  readonly limits: CoreLimits
  readonly agents: ReadonlyMap<string, MemoryAgent>
  readonly dead: DeadList
  readonly work: Work
  readonly publish: (hub: string | null, signal: Signal) => void
}

/** What becomes of messages that leave their lane or queue, and who is told. */
export class Endings {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** An entry at the end of a lane, and a signal to the agent's hub, unless that is `exceptHub`. Answers its number. */
  append(agent: MemoryAgent, lane: Lane, entry: NewEntry, exceptHub: string | null): number {
    const number = agent.lane(lane).append(entry)
    const { connected, hub } = agent.record.state
    if (connected && hub !== exceptHub) {
      const { text, expiresAt } = entry
      this.#parts.publish(hub, { kind: 'entry', agentId: agent.id, lane, number, text, expiresAt })
    }
    return number
  }

  /**
   * An entry at the end of a lane of an agent that lives by heartbeats and may never acknowledge: it waits for so long at most, and what is too
   * much goes.
   */
  appendBounded(agent: MemoryAgent, laneName: Lane, entry: NewEntry, at: number): number {
    const { httpInboxMax, httpMessageTtlMs } = this.#parts.limits
    const until = httpMessageTtlMs > 0 ? at + httpMessageTtlMs : Number.POSITIVE_INFINITY
    const ends = Math.min(entry.expiresAt ?? Number.POSITIVE_INFINITY, until)
    const lane = agent.lane(laneName)
    const number = lane.append({ ...entry, expiresAt: Number.isFinite(ends) ? ends : null })
    if (laneName === 'inbox' && httpInboxMax > 0 && lane.size > httpInboxMax) {
      const oldest = lane.take(lane.first)
      if (oldest !== undefined) this.giveUpEntry(oldest, 'inbox_overflow', at)
    }
    return number
  }

  /** Work has begun to wait. */
  tellQueued(capabilities: ReadonlySet<string>): void {
    if (capabilities.size > 0) {
      this.#parts.publish(null, { kind: 'queued', capabilities: [...capabilities] })
    }
  }

  /** Somebody works on it. */
  progress(message: StoredEntry | StoredTask, agentId: string, at: number): void {
    if (message.receiptTo === null || message.isQuiet || message.inProgress) return
    message.inProgress = true
    this.#tell(message, { agentId, status: 'in_progress', reason: null, at })
  }

  /** Acknowledged, and out of its place. */
  settle(message: StoredEntry | StoredTask, agentId: string, at: number): void {
    if (!message.isQuiet) this.#tell(message, { agentId, status: 'acked', reason: null, at })
  }

  /** An entry that has left its lane goes to the dead letters; a receipt just goes. `reason` null: its time to live is over. */
  giveUpEntry(entry: StoredEntry, reason: string | null, at: number): void {
    const { lane, text, rejections: attempts } = entry
    const { agentId } = lane
    const messageId = messageIdOf(text)
    if (messageId === null) return
    this.#giveUp({ messageId, agentId, capability: null, reason: reason ?? 'expired', attempts, at, text })
    this.#tellGivenUp(entry, agentId, reason, at)
  }

  /** A broadcast that only one agent gave up. */
  giveUpBroadcast(agentId: string, text: string, reason: string, at: number): void {
    const messageId = messageIdOf(text)
    this.#giveUp({ messageId, agentId, capability: null, reason, attempts: 1, at, text })
  }

  /** One record for what an agent has not settled of the log between two numbers; none where there is nothing between them. */
  giveUpLog(agentId: string, from: number, to: number, reason: string, at: number): void {
    if (from > to) return
    const text = JSON.stringify({ from, to })
    this.#giveUp({ messageId: null, agentId, capability: null, reason, attempts: 0, at, text })
  }

  /** `reason` null: its time to live is over. */
  giveUpTask(task: StoredTask, reason: string | null, at: number): void {
    this.#parts.work.delete(task)
    const { id: messageId, lostBy: agentId, capability, attempts, text } = task
    this.#giveUp({ messageId, agentId, capability, reason: reason ?? 'expired', attempts, at, text })
    this.#tellGivenUp(task, agentId, reason, at)
  }

  /** A task that is held goes back to its place, or is given up. Who waits for work has to be told: see {@link Endings.tellQueued}. */
  lose(task: StoredTask, { at, failed, remembered, requeue, delayMs, reason }: Loss): ReleaseResult {
    const { limits, work } = this.#parts
    if (failed) task.attempts += 1
    const exhausted = limits.maxAttempts > 0 && task.attempts >= limits.maxAttempts
    const dead = !requeue || exhausted || task.hasExpired(at)
    if (dead || remembered) task.lostBy = task.holder?.id ?? null
    if (dead) {
      this.giveUpTask(task, requeue && task.hasExpired(at) ? null : reason, at)
      return { outcome: 'dead' }
    }
    const dueAt = delayMs > 0 ? at + delayMs : null
    if (dueAt === null) work.wait(task)
    else work.delay(task, dueAt)
    return { outcome: 'requeued', dueAt }
  }

  /** All that an agent holds is handed on. `failed`: it counts as a failed attempt. */
  loseAll(agent: MemoryAgent, failed: boolean, at: number): void {
    const loss = { at, failed, remembered: true, requeue: true, delayMs: 0, reason: 'holder_lost' }
    const queued = new Set<string>()
    // Each one leaves `holding`, which an iteration of a Map allows.
    for (const task of agent.holding.values()) {
      if (this.lose(task, loss).outcome === 'requeued') queued.add(task.capability)
    }
    this.tellQueued(queued)
  }

  #giveUp(letter: Omit<DeadLetter, 'position'>): void {
    const { messageId, agentId, capability, reason, at } = letter
    this.#parts.dead.add(letter)
    this.#parts.publish(null, { kind: 'dead', messageId, agentId, capability, reason, at })
  }

  #tellGivenUp(
    message: StoredEntry | StoredTask,
    agentId: string | null,
    reason: string | null,
    at: number,
  ): void {
    if (message.receiptTo === null) return
    const status = reason === null ? 'expired' : 'dead_lettered'
    this.#tell(message, { agentId, status, reason, correlationId: correlationIdOf(message.text), at })
  }

  /** A receipt to whoever asked for it, if still registered. */
  #tell({ receiptTo, text }: StoredEntry | StoredTask, receipt: Omit<Receipt, 'id'>): void {
    const sender = receiptTo === null ? undefined : this.#parts.agents.get(receiptTo)
    if (sender === undefined) return
    const entry = {
      text: receiptText({ id: messageIdOf(text) ?? '', ...receipt }),
      expiresAt: null,
      receiptTo: null,
      rejections: 0,
      dueAt: null,
    }
    this.append(sender, 'replies', entry, null)
  }
}
