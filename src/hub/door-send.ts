import type { Destination, Sender, SendOutcome } from '../core/sends.ts'
import type { Commit } from './group-commit.ts'

/** A send of a door or an operator, on its way into the store with those of sessions; resolves with what the store says. */
export class DoorSend implements Commit {
  readonly sender: Sender
  readonly seq = null
  to: Destination
  readonly asLeader = null
  readonly text: string
  readonly expiresAt: number | null
  readonly receipt = false
  readonly outcome: Promise<SendOutcome>
  #resolve!: (outcome: SendOutcome) => void
  #reject!: (error: unknown) => void

  constructor(sender: Sender, to: Destination, text: string, expiresAt: number | null = null) {
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
    this.#resolve(outcome)
  }

  onFailure(error: unknown): void {
    this.#reject(error)
  }

  retarget(agentId: string): void {
    if (this.to.kind === 'agent' || this.to.kind === 'leader') this.to = { ...this.to, agentId }
  }
}
