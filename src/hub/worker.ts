import type { Nack } from '../../protocol/commands.ts'
import { withAttempt } from '../core/attempts.ts'
import type { Claimant, Hold, Release, Task } from '../core/queues.ts'
import type { Sender } from '../core/sends.ts'
import type { Delivery } from './delivery.ts'
import type { Outbox } from './outbox.ts'
import type { Work } from './work.ts'

export interface WorkerOptions {
  readonly sender: Sender
  readonly capabilities: readonly string[]
  /** Messages of work queues it takes at once. */
  readonly concurrency: number
  readonly delivery: Delivery
  readonly outbox: Outbox
  readonly work: Work
}

/** What the client does with a message of a work queue, as the store will know it. */
interface Held {
  readonly capability: string
  readonly claim: number
}

/** What is to be compared with what the store will say: other answers may come before that one and be newer. */
export interface Asking {
  /** What the client held when the store was asked: id → claim. */
  readonly held: ReadonlyMap<string, number>
  /** What ended since then: id → claim. */
  readonly ended: Map<string, number>
}

/**
 * The work of one session: what its client holds, and how much more it takes. Room is reserved before a message is claimed,
 * so that claims of several queues under way together never bring more than there is room for.
 */
export class Worker {
  capabilities: readonly string[]
  readonly sender: Sender
  readonly #delivery: Delivery
  readonly #outbox: Outbox
  readonly #work: Work
  readonly #held = new Map<string, Held>()
  /** Settled or given back here, and the store may not know it yet: id → claim. */
  readonly #ending = new Map<string, number>()
  readonly #asking = new Set<Asking>()
  #concurrency: number
  #reserved = 0
  /** It could do more, but its window was full. */
  #cramped = false
  #started = false
  #stopped = false

  constructor({ sender, capabilities, concurrency, delivery, outbox, work }: WorkerOptions) {
    this.sender = sender
    this.capabilities = capabilities
    this.#concurrency = concurrency
    this.#delivery = delivery
    this.#outbox = outbox
    this.#work = work
  }

  get agentId(): string {
    return this.sender.agentId
  }

  set concurrency(concurrency: number) {
    this.#concurrency = concurrency
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** How many messages it takes now; never below 0. */
  get room(): number {
    if (!this.#started || this.#stopped) return 0
    const free = this.#concurrency - this.#held.size - this.#reserved
    if (free <= 0) return 0
    const { room } = this.#delivery
    this.#cramped = room < free
    return Math.max(0, Math.min(free, room))
  }

  /** The window has room again. */
  onRoom(): void {
    if (!this.#cramped) return
    this.#cramped = false
    this.#work.onRoom(this)
  }

  /** The client is welcomed; `tasks` is what it held before and holds still. */
  start(tasks: readonly Task[]): void {
    this.#started = true
    for (const task of tasks) this.#push(task)
    this.#work.add(this)
  }

  /** Claims for it are under way; `release` gives the places back. */
  reserve(room: number): Claimant {
    this.#reserved += room
    this.#delivery.takePlaces(room)
    const { agentId, fence } = this.sender
    return { agentId, fence, room, concurrency: this.#concurrency }
  }

  unreserve(room: number): void {
    this.#reserved -= room
    this.#delivery.takePlaces(-room)
  }

  /** Pushes a claimed message; one that the client has already, or has done with, is not pushed again. */
  take(task: Task): void {
    if (this.#held.get(task.id)?.claim === task.claim || this.#ending.get(task.id) === task.claim) return
    if (this.#stopped) this.decline(task)
    else this.#push(task)
  }

  /** Gives back a message claimed that was not pushed. */
  decline(task: Task): void {
    // Until the store has it, the agent holds it there: it is not to be pushed for that.
    this.#ending.set(task.id, task.claim)
    this.#work.giveBack(this, task, unpushed(this.sender, task))
  }

  #push({ id, capability, claim, text, attempt }: Task): void {
    if (!this.#held.has(id)) this.#delivery.takePlaces(1)
    this.#held.set(id, { capability, claim })
    this.#outbox.push(withAttempt(text, attempt))
  }

  /** The client does not hold it any more. */
  #drop(id: string): Held | undefined {
    const held = this.#held.get(id)
    if (!held || !this.#held.delete(id)) return undefined
    this.#delivery.takePlaces(-1)
    return held
  }

  ack(id: string): void {
    const held = this.#drop(id)
    if (!held) return
    this.#ending.set(id, held.claim)
    this.#work.settle(this, { agentId: this.agentId, id, claim: held.claim })
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  nack({ id, requeue, delayMs, reason }: Nack): void {
    const held = this.#drop(id)
    if (!held) return
    const { agentId, fence } = this.sender
    this.#ending.set(id, held.claim)
    this.#work.giveBack(this, held, {
      agentId,
      id,
      claim: held.claim,
      fence,
      cause: 'rejected',
      requeue: requeue ?? true,
      delayMs: delayMs ?? 0,
      reason: reason || null,
    })
  }

  /** Those of `ids` that the client holds. */
  holdsOf(ids: readonly string[]): Hold[] {
    return ids.flatMap((id) => {
      const claim = this.#held.get(id)?.claim
      return claim === undefined ? [] : { agentId: this.agentId, id, claim }
    })
  }

  /** The store knows how this one ended. */
  ended({ id, claim }: Hold): void {
    for (const { ended } of this.#asking) ended.set(id, claim)
    if (this.#ending.get(id) === claim) this.#ending.delete(id)
  }

  /** The store took it away. */
  revoke(id: string, claim: number, reason: string): void {
    if (this.#held.get(id)?.claim !== claim || !this.#drop(id)) return
    this.#outbox.push(JSON.stringify({ type: 'revoked', ids: [id], reason }))
    this.#work.onRoom(this)
  }

  /** The store is being asked what this agent holds. To be given to `reconcile` or `forget`. */
  asks(): Asking {
    const held = new Map<string, number>()
    for (const [id, { claim }] of this.#held) held.set(id, claim)
    const asking = { held, ended: new Map<string, number>() }
    this.#asking.add(asking)
    return asking
  }

  /** The store did not answer. */
  forget(asking: Asking): void {
    this.#asking.delete(asking)
  }

  /**
   * `stored` is all that the store said this agent holds: what is missing here is pushed, what is missing there is taken away. What
   * was claimed or ended since the store was asked is newer than its answer.
   */
  reconcile(stored: readonly Task[], asking: Asking): void {
    this.#asking.delete(asking)
    if (this.#stopped) return
    const claimById = new Map(stored.map(({ id, claim }) => [id, claim]))
    for (const [id, claim] of asking.held)
      if (claimById.get(id) !== claim) this.revoke(id, claim, 'holder_lost')
    for (const task of stored) if (asking.ended.get(task.id) !== task.claim) this.take(task)
  }

  /** Nothing is pushed any more. What the client holds stays its own for the grace period. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#work.remove(this)
  }
}

const unpushed = ({ agentId, fence }: Sender, { id, claim }: Task): Release => ({
  agentId,
  id,
  claim,
  fence,
  cause: 'unpushed',
  requeue: true,
  delayMs: 0,
  reason: null,
})
