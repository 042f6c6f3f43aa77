import type { BroadcastEntry } from '../core/broadcasts.ts'
import { idOf } from './message-text.ts'
import { toWireFrame } from './outbox.ts'

/** An entry of the log with what all agents of this hub share of it, made when the first of them needs it. */
export class WiredBroadcast implements BroadcastEntry {
  readonly number: number
  readonly text: string
  readonly from: string
  readonly echo: boolean
  readonly recipients: readonly string[] | null
  readonly expiresAt: number | null
  #wire: Buffer | null = null
  #id: string | null = null
  #owedTo: ReadonlySet<string> | null = null

  constructor({ number, text, from, echo, recipients, expiresAt }: BroadcastEntry) {
    this.number = number
    this.text = text
    this.from = from
    this.echo = echo
    this.recipients = recipients
    this.expiresAt = expiresAt
  }

  get id(): string {
    this.#id ??= idOf(this.text)
    return this.#id
  }

  /** The WebSocket frame of its first attempt. */
  get wire(): Buffer {
    this.#wire ??= toWireFrame(this.text)
    return this.#wire
  }

  /** Whether it is for this agent, if that one was registered when it was sent. */
  isFor(agentId: string): boolean {
    if (this.recipients === null) return this.echo || this.from !== agentId
    this.#owedTo ??= new Set(this.recipients)
    return this.#owedTo.has(agentId)
  }
}
