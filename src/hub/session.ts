import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Departure } from '../core/registry.ts'
import type { Sender } from '../core/sends.ts'
import type { Connection } from './connection.ts'
import type { Delivery } from './delivery.ts'
import type { Namespace } from './namespace.ts'
import type { Worker } from './worker.ts'

const RETRY_MS = 1_000

/** The answer to a send while a lesser `seq` of its producer is open. */
export const openBefore = (seq: number): MeshError =>
  new MeshError('store_unavailable', `seq ${seq} is still open: send that one again first`, {
    retryAfterMs: 500,
  })

/** One agent's current connection on this hub. Ends once: by `leave`, or `displaced` when another session has the agent. */
export class Session {
  readonly connection: Connection
  readonly namespace: Namespace
  readonly sender: Sender
  /** The agent's id as JSON, for the head of every message it sends. */
  readonly from: string
  readonly #producerBase: string
  readonly #messagePrefix: string
  readonly #delivery: Delivery
  readonly worker: Worker
  #count = 0
  #unanswered = 0
  #openSeq: number | null = null
  /** The greatest seq that was ever left open. */
  #lostSeq = 0
  /** The greatest seq that the store has ended; all lesser ones are ended too. */
  #endedSeq = 0
  #answered: (() => void)[] = []
  #ended = false
  #fenced = false

  constructor(
    connection: Connection,
    namespace: Namespace,
    sender: Sender,
    producerBase: string,
    delivery: Delivery,
    worker: Worker,
  ) {
    this.connection = connection
    this.namespace = namespace
    this.sender = sender
    this.from = JSON.stringify(sender.agentId)
    this.#producerBase = producerBase
    this.#messagePrefix = `${sender.fence.toString(36)}.`
    this.#delivery = delivery
    this.worker = worker
  }

  get agentId(): string {
    return this.sender.agentId
  }

  get delivery(): Delivery {
    return this.#delivery
  }

  /**
   * The id of the next message. With `seq` it follows from producer and seq, so that a repetition on whatever hub is answered
   * with the same one and nothing has to be remembered for it.
   */
  messageId(seq: number | null): string {
    return seq === null ? this.#messagePrefix + ++this.#count : `${this.#producerBase}-${seq}`
  }

  /**
   * A send begins. One whose `seq` is greater than one that was left open is answered like that one, so that order holds.
   * @throws MeshError
   */
  begin(seq: number | null): void {
    if (seq !== null) {
      if (this.sender.producer === null) {
        throw new MeshError('bad_frame', 'seq needs a producer: name one in hello, or send without seq')
      }
      if (this.#openSeq !== null && seq > this.#openSeq) {
        // It is open as well: a greater one that comes before it is sent again must not be taken for a gap.
        if (seq > this.#lostSeq) this.#lostSeq = seq
        throw openBefore(this.#openSeq)
      }
      if (this.#unanswered >= LIMITS.producerWindow) {
        throw new MeshError(
          'bad_frame',
          `more than ${LIMITS.producerWindow} sends have no answer yet; wait for answers`,
        )
      }
      if (seq === this.#openSeq) this.#openSeq = null
    }
    this.#unanswered++
  }

  ack(ids: readonly string[]): void {
    for (const id of ids) if (!this.#delivery.ack(id)) this.worker.ack(id)
  }

  /** A send has its answer. */
  end(): void {
    this.#unanswered--
    if (this.#unanswered > 0) return
    const answered = this.#answered
    this.#answered = []
    for (const resolve of answered) resolve()
  }

  /** The store has ended this seq. */
  endSeq(seq: number): void {
    if (seq > this.#endedSeq) this.#endedSeq = seq
    if (this.#openSeq !== null && this.#openSeq <= seq) this.#openSeq = null
  }

  /** The store did not take this seq: it stays open, unless it was sent once more and taken meanwhile. */
  leaveOpen(seq: number): void {
    if (seq <= this.#endedSeq) return
    if (this.#openSeq === null || seq < this.#openSeq) this.#openSeq = seq
    if (seq > this.#lostSeq) this.#lostSeq = seq
  }

  /** Whether the store lacks `seq` because it failed to take it, and not because the client left it out. */
  wasLost(seq: number): boolean {
    return seq <= this.#lostSeq
  }

  /** Nothing is pushed or taken any more. */
  get ended(): boolean {
    return this.#ended
  }

  /** The store says that this session is over: it is, unless it only counts as lost. Never rejects. */
  async onFenced(): Promise<void> {
    if (this.#fenced || this.#ended) return
    this.#fenced = true
    await this.namespace.reclaims.onFenced(this)
    this.#fenced = false
  }

  /** The store has lost data: what this session knows of it is void, and its client has to come back. */
  forget(): void {
    this.#delivery.forget()
  }

  /** Resolves when every send that began has its answer. */
  async #allAnswered(): Promise<void> {
    if (this.#unanswered === 0) return
    await new Promise<void>((resolve) => {
      this.#answered.push(resolve)
    })
  }

  /**
   * Ends the session in the registry, after all that arrived before. Resolves when the store has it; while the store is
   * down it tries again. @returns the revision of the last change, or null where another session has the agent
   */
  async leave(departure: Departure): Promise<number | null> {
    if (this.#ended) return null
    await this.#finish()
    const { core, settings } = this.namespace
    const request = {
      agentId: this.agentId,
      fence: this.sender.fence,
      departure,
      graceMs: settings.graceMs,
    }
    while (!this.namespace.closed) {
      try {
        // The store may lose data while it is tried again.
        const marks = this.#delivery.settled.isVoid ? null : this.#delivery.marks()
        const result = await core.registry.leave(this.namespace.name, { ...request, marks })
        if (result.outcome !== 'changed') return null
        // What could not be deleted is gone with the agent; numbers begin anew should it come back.
        if (departure === 'unregister') this.namespace.settler.drop(this.#delivery.settled)
        this.namespace.onEvents(result.events)
        return result.events.at(-1)?.revision ?? null
      } catch (error) {
        this.namespace.onStoreError(error)
        await this.namespace.pause(RETRY_MS)
      }
    }
    return null
  }

  /** Another session has the agent: nothing is left to tell the store but what was acknowledged. */
  async displaced(): Promise<void> {
    if (!this.#ended) await this.#finish()
  }

  async #finish(): Promise<void> {
    this.#ended = true
    this.namespace.remove(this)
    this.namespace.streams.leave(this)
    this.#delivery.stop()
    this.worker.stop()
    await this.#allAnswered()
    await this.namespace.work.flush()
    await this.namespace.settler.flush()
    await this.namespace.settler.flushCursors(this.#delivery.settled)
  }
}
