import type { Nack } from '../../protocol/commands.ts'
import { withAttempt } from '../core/attempts.ts'
import type { Claimant, Hold, Release, Task } from '../core/queues.ts'
import type { Sender } from '../core/sends.ts'
import type { Connection } from './connection.ts'
import type { Delivery } from './delivery.ts'
import type { Flight } from './flight.ts'
import type { Work } from './work.ts'

export interface WorkerOptions {
  readonly sender: Sender
  readonly capabilities: readonly string[]
  /** Messages of work queues it takes at once. */
  readonly concurrency: number
  readonly delivery: Delivery
  readonly connection: Pick<Connection, 'outbox' | 'ping' | 'whenHeard'>
  readonly work: Work
  readonly flight: Flight
}

/** What the client does with a message of a work queue, as the store will know it. */
interface Held {
  readonly capability: string
  readonly claim: number
}

/**
 * The work of one session: what its client holds, and how much more it takes. Room is reserved before a message is claimed,
 * so that claims of several queues under way together never bring more than there is room for.
 */
export class Worker {
  capabilities: readonly string[]
  readonly sender: Sender
  readonly #delivery: Delivery
  readonly #connection: WorkerOptions['connection']
  readonly #work: Work
  readonly #flight: Flight
  readonly #held = new Map<string, Held>()
  /** Settled or given back here, and the store may not know it yet: id → claim. */
  readonly #ending = new Map<string, number>()
  /** Lost before they could be pushed, id → claim: word of a loss may overtake the answer to the claim. */
  readonly #lostEarly = new Map<string, number>()
  /** What was taken, ended or lost since the store was asked what the client holds: of these its answer may be old. */
  #changed: Set<string> | null = null
  #unsure = false
  #concurrency: number
  #reserved = 0
  /** It could do more, but its window was full. */
  #cramped = false
  /** It let work time out, and nothing was heard of it since: what hangs or is frozen must not draw one message after another. */
  #isSilent = false
  #started = false
  #stopped = false

  constructor({ sender, capabilities, concurrency, delivery, connection, work, flight }: WorkerOptions) {
    this.sender = sender
    this.capabilities = capabilities
    this.#concurrency = concurrency
    this.#delivery = delivery
    this.#connection = connection
    this.#work = work
    this.#flight = flight
  }

  get agentId(): string {
    return this.sender.agentId
  }

  set concurrency(concurrency: number) {
    this.#concurrency = concurrency
  }

  get started(): boolean {
    return this.#started
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** How many messages it takes now; never below 0. */
  get room(): number {
    if (!this.#started || this.#stopped || this.#isSilent) return 0
    const free = this.#concurrency - this.#held.size - this.#reserved
    if (free <= 0) return 0
    const { room } = this.#delivery
    this.#cramped = room < free
    return Math.max(0, Math.min(free, room))
  }

  /** The store may think that it holds something. */
  get isBusy(): boolean {
    return this.#held.size > 0 || this.#ending.size > 0 || this.#reserved > 0
  }

  /** Claims for it are under way. */
  get isReserved(): boolean {
    return this.#reserved > 0
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
    for (const task of tasks) this.take(task)
    this.#work.add(this)
    if (this.#unsure) this.#work.ask(this)
  }

  /** Claims for it are under way; `release` gives the places back. */
  reserve(room: number): Claimant {
    if (this.#reserved === 0) this.#lostEarly.clear()
    this.#reserved += room
    this.#delivery.takePlaces(room)
    const { agentId, fence } = this.sender
    return { agentId, fence, room, concurrency: this.#concurrency }
  }

  unreserve(room: number): void {
    this.#reserved -= room
    this.#delivery.takePlaces(-room)
  }

  /** Pushes a claimed message; one that the client has already, by this claim or a later one, or has done with, is not pushed again. */
  take(task: Task): void {
    if ((this.#held.get(task.id)?.claim ?? 0) >= task.claim) return
    if (this.#ending.get(task.id) === task.claim) return
    if (this.#lostEarly.get(task.id) === task.claim) return
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
    this.#changed?.add(id)
    if (!this.#held.has(id)) this.#delivery.takePlaces(1)
    // Word of the loss was lost: it is new work now.
    else this.#tellRevoked(id, 'ack_timeout')
    this.#held.set(id, { capability, claim })
    this.#connection.outbox.pushMessage(withAttempt(text, attempt))
    this.#flight.pushed('queue', 'claim', id, text, attempt)
  }

  /** The client does not hold it any more. */
  #drop(id: string): Held | undefined {
    const held = this.#held.get(id)
    if (!held || !this.#held.delete(id)) return undefined
    this.#changed?.add(id)
    this.#delivery.takePlaces(-1)
    return held
  }

  ack(id: string): void {
    const held = this.#drop(id)
    if (!held) return
    this.#flight.acknowledged('queue', id)
    this.#ending.set(id, held.claim)
    this.#work.settle(this, { agentId: this.agentId, id, claim: held.claim })
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  nack({ id, requeue, delayMs, reason }: Nack): void {
    const held = this.#drop(id)
    if (!held) return
    this.#flight.rejected('queue', id)
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
    if (this.#ending.get(id) === claim) this.#ending.delete(id)
  }

  /** The store took it away. */
  revoke(id: string, claim: number, reason: string): void {
    if (this.#held.get(id)?.claim !== claim || !this.#drop(id)) {
      this.#changed?.add(id)
      if (!this.#started || this.#reserved > 0) this.#lostEarly.set(id, claim)
      return
    }
    this.#flight.lost(id)
    this.#tellRevoked(id, reason)
    if (reason === 'ack_timeout') this.#wait()
    else this.#work.onRoom(this)
  }

  /** Until the client says something, if only a pong. */
  #wait(): void {
    if (this.#isSilent) return
    this.#isSilent = true
    this.#connection.whenHeard(() => {
      this.#isSilent = false
      this.#work.onRoom(this)
    })
    this.#connection.ping()
  }

  #tellRevoked(id: string, reason: string): void {
    this.#connection.outbox.push(JSON.stringify({ type: 'revoked', ids: [id], reason }))
  }

  /** The store is about to be asked what this agent holds. */
  beginReconcile(): void {
    this.#changed = new Set(this.#ending.keys())
  }

  /**
   * `stored` is all that the store said this agent held: what is missing here is pushed, what is missing there is taken away. What
   * changed since it was asked is left alone.
   */
  reconcile(stored: readonly Task[]): void {
    const changed = this.#changed ?? new Set()
    this.#changed = null
    // Before its welcome the client is pushed nothing.
    if (!this.#started) this.#unsure = true
    if (!this.#started || this.#stopped) return
    const claimById = new Map(stored.map(({ id, claim }) => [id, claim]))
    for (const [id, { claim }] of [...this.#held])
      if (!changed.has(id) && claimById.get(id) !== claim) this.revoke(id, claim, 'holder_lost')
    for (const task of stored) if (!changed.has(task.id)) this.take(task)
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
