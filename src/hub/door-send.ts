import type { Destination, Sender, SendOutcome } from '../core/sends.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Commit } from './group-commit.ts'
import type { Namespace } from './namespace.ts'
import { kindOf, OUTCOMES } from './send-outcomes.ts'

/** A send of a door or an operator, on its way into the store with those of sessions, and counted as they are; resolves with what the store says. */
export class DoorSend implements Commit {
  readonly sender: Sender
  readonly seq = null
  to: Destination
  readonly asLeader = null
  readonly text: string
  readonly expiresAt: number | null
  readonly receipt = false
  readonly outcome: Promise<SendOutcome>
  readonly #metrics: Metrics
  #resolve!: (outcome: SendOutcome) => void
  #reject!: (error: unknown) => void

  constructor(
    metrics: Metrics,
    sender: Sender,
    to: Destination,
    text: string,
    expiresAt: number | null = null,
  ) {
    this.#metrics = metrics
    this.sender = sender
    this.to = to
    this.text = text
    this.expiresAt = expiresAt
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  onOutcome(outcome: SendOutcome): void {
    // The sender is another one's: to send it again would not help.
    const name = outcome.outcome === 'fenced' ? 'refused' : OUTCOMES[outcome.outcome]
    this.#metrics.sent(kindOf(this.to), name)
    this.#resolve(outcome)
  }

  onFailure(error: unknown): void {
    this.#metrics.sent(kindOf(this.to), 'failed')
    this.#reject(error)
  }

  /** It was stored for one agent: where that one is here, it is pushed at once. */
  offerHere(namespace: Namespace, number: number, id: string): void {
    const { to } = this
    if (to.kind !== 'agent' && to.kind !== 'leader') return
    namespace.session(to.agentId)?.delivery.offer(to.lane, number, this.text, this.expiresAt, id)
  }

  retarget(agentId: string): void {
    if (this.to.kind === 'agent' || this.to.kind === 'leader') this.to = { ...this.to, agentId }
  }
}
