import type { Message } from '../../protocol/pushes.ts'
import { type AgentOptions, connectAgent, type TestAgent } from './agent.ts'
import { sendFrame } from './talk.ts'

type Target = Parameters<typeof connectAgent>[0]

/** How a hopper leaves the hub it is on. */
export type Hop = 'cut' | 'takeover' | 'bye'

/**
 * An agent that moves between hubs while it sends and receives, by the rules a client has to keep: it sends again, in order
 * and with its `seq`, what was not answered; it drops what it has processed and acknowledges it all the same.
 */
export class Hopper {
  readonly #options: AgentOptions
  #agent: TestAgent | null = null
  #session: string | null = null
  /** Sent and not answered, in order. */
  readonly #open = new Map<number, { to: object; payload: unknown }>()
  #seq = 0
  readonly #processed = new Set<string>()
  #onAnswer: (() => void)[] = []
  #hopping = false
  /** Payloads, each when it was processed. */
  readonly log: unknown[] = []
  /** How many sends went out again because a hop left them unanswered. */
  resent = 0
  /** Errors that answered sends. */
  readonly errors: string[] = []
  #onMessage: (() => void)[] = []

  constructor(options: AgentOptions) {
    this.#options = { producer: 'hopper', ...options }
  }

  get agent(): TestAgent {
    if (!this.#agent) throw new Error('not connected')
    return this.#agent
  }

  async connect(hub: Target): Promise<void> {
    const agent = await connectAgent(hub, { ...this.#options, session: this.#session })
    this.#agent = agent
    this.#session = agent.session
    agent.webSocket.on('message', () => this.#read(agent))
    this.#read(agent)
    this.resent += this.#open.size
    for (const [seq, { to, payload }] of this.#open) this.#write(seq, to, payload)
  }

  /** Leaves this hub, with all that is under way, for another one. */
  async hop(hub: Target, how: Hop): Promise<void> {
    this.#hopping = true
    const old = this.agent
    if (how === 'cut') await old.cut()
    if (how === 'bye') {
      old.send({ type: 'bye', ref: 'bye', keep: true })
      await old.closed
    }
    await this.connect(hub)
    this.#hopping = false
    if (how === 'takeover') await old.closed
    for (const tell of this.#onAnswer.splice(0)) tell()
  }

  #read(agent: TestAgent): void {
    // What the old socket still says counts too.
    for (const frame of agent.takeWaiting()) {
      if (frame.type === 'message') this.#process(agent, frame)
      else if (frame.type === 'ok' && typeof frame.ref === 'number') this.#answered(frame.ref)
      else if (frame.type === 'error' && typeof frame.ref === 'number' && !frame.error.retryable) {
        this.errors.push(frame.error.code)
        this.#answered(frame.ref)
      }
    }
  }

  #process(agent: TestAgent, { id, payload }: Message): void {
    if (!this.#processed.has(id)) this.log.push(payload)
    this.#processed.add(id)
    if (agent.webSocket.readyState === 1) agent.send({ type: 'ack', ids: [id] })
    for (const tell of this.#onMessage.splice(0)) tell()
  }

  #answered(seq: number): void {
    this.#open.delete(seq)
    for (const tell of this.#onAnswer.splice(0)) tell()
  }

  #write(seq: number, to: object, payload: unknown): void {
    if (this.agent.webSocket.readyState === 1) this.agent.send(sendFrame(to, payload, { seq, ref: seq }))
  }

  /** Sends when fewer than `most` are unanswered and no hop is under way. */
  async send(to: object, payload: unknown, most = 64): Promise<void> {
    while (this.#open.size >= most || this.#hopping)
      await new Promise<void>((resolve) => this.#onAnswer.push(resolve))
    const seq = (this.#seq += 1)
    this.#open.set(seq, { to, payload })
    this.#write(seq, to, payload)
  }

  /** Resolves when all that was sent is answered. */
  async answered(): Promise<void> {
    while (this.#open.size > 0 || this.#hopping)
      await new Promise<void>((resolve) => this.#onAnswer.push(resolve))
  }

  /** Resolves when so many different messages were processed. */
  async received(count: number): Promise<void> {
    while (this.log.length < count) await new Promise<void>((resolve) => this.#onMessage.push(resolve))
  }
}
