import type { Message, Push, Receipt, Revoked } from '../../protocol/pushes.ts'
import type { ErrorReply, Ok, Reply, Welcome } from '../../protocol/replies.ts'
import type { History } from './history.ts'
import type { Random } from './random.ts'
import type { SimSocket } from './socket.ts'

/** A message that this agent sent, as it knows it. */
export interface Sent {
  readonly number: number
  readonly to: Readonly<Record<string, unknown>>
  readonly receipt: boolean
  readonly expires: boolean
  readonly seq: number
  /** Of the `ok`; null while there is none. */
  id: string | null
  error: string | null
}

interface Held {
  readonly message: Message
  readonly session: number
}

export interface AgentPort {
  readonly random: Random
  readonly history: History
  /** A new socket to some hub that lives, or null. */
  connect(listener: { text(text: string): void; closed(code: number): void }): SimSocket | null
}

export interface AgentTraits {
  readonly id: string
  readonly capabilities: readonly string[]
  readonly concurrency: number
  readonly window: number
}

/** An agent by the protocol, without the bundled client: sends again what has no answer, acknowledges, refuses, forgets, dies, comes back. */
export class SimAgent {
  readonly traits: AgentTraits
  readonly sent: Sent[] = []
  /** Ids of messages that were worked off. */
  readonly done = new Set<string>()
  readonly receipts: Receipt[] = []
  readonly #port: AgentPort
  readonly #held = new Map<string, Held>()
  readonly #open = new Map<number, Sent>()
  #socket: SimSocket | null = null
  #isOpen = false
  #session: string | null = null
  #sessions = 0
  #producer = 0
  #seq = 0
  #isCalm = false
  #isAway = false

  constructor(port: AgentPort, traits: AgentTraits) {
    this.#port = port
    this.traits = traits
  }

  get id(): string {
    return this.traits.id
  }

  /** What it still has to do: sends without an answer, by number, and messages that it holds, by id. */
  get unsettled(): readonly (number | string)[] {
    return [...[...this.#open.values()].map(({ number }) => number), ...this.#held.keys()]
  }

  #tell(what: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#port.history.add(this.id, what, fields)
  }

  connect(): void {
    this.#isAway = false
    if (this.#socket) return
    let socket: SimSocket | null = null
    socket = this.#port.connect({
      text: (text) => {
        if (this.#socket === socket)
          for (const line of text.split('\n')) this.#onFrame(JSON.parse(line) as Push | Reply)
      },
      closed: (code) => {
        if (this.#socket === socket) this.#onClosed(code)
      },
    })
    if (!socket) {
      this.#connectLater()
      return
    }
    this.#socket = socket
    const { id, capabilities, concurrency, window } = this.traits
    const agent = { id, name: `${id}-name`, capabilities, concurrency }
    const producer = `p${this.#producer}`
    this.#write({ type: 'hello', ref: 'hello', protocol: 1, producer, session: this.#session, window, agent })
  }

  #connectLater(): void {
    setTimeout(
      () => {
        if (!this.#isAway || this.#isCalm) this.connect()
      },
      this.#port.random.between(10, this.#isCalm ? 300 : 1_500),
    )
  }

  #write(frame: Readonly<Record<string, unknown>>): void {
    this.#socket?.write(JSON.stringify(frame))
  }

  #onClosed(code: number): void {
    this.#tell('closed', { code })
    this.#socket = null
    this.#isOpen = false
    // What it was at it forgets, like a process that dies; it comes again.
    this.#held.clear()
    this.#connectLater()
  }

  /** Loses its connection; the hub may not notice. */
  drop(isNoticed: boolean): void {
    if (!this.#socket) return
    this.#tell('drops', { isNoticed })
    this.#socket.drop(isNoticed)
    this.#socket = null
    this.#isOpen = false
    this.#held.clear()
    this.#connectLater()
  }

  /** Leaves for a while, with its inbox kept. */
  rest(): void {
    if (!this.#isOpen) return
    this.#tell('rests')
    this.#isAway = true
    this.#write({ type: 'bye', ref: 'bye', keep: true })
  }

  /** From now on it works everything off, and stays. */
  calm(): void {
    this.#isCalm = true
    for (const { message } of [...this.#held.values()]) this.#settle(message, 'ack')
    if (!this.#socket) this.connect()
  }

  send(number: number, to: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>>): void {
    const seq = ++this.#seq
    const sent: Sent = {
      number,
      to,
      receipt: more.receipt === true,
      expires: more.ttlMs !== undefined,
      seq,
      id: null,
      error: null,
    }
    this.sent.push(sent)
    this.#open.set(seq, sent)
    this.#more.set(seq, more)
    if (this.#isOpen) this.#transmit(sent)
  }

  readonly #more = new Map<number, Readonly<Record<string, unknown>>>()

  #transmit({ seq, number, to }: Sent): void {
    const more = this.#more.get(seq)
    this.#write({ type: 'send', ref: seq, seq, to, messageType: 'notification', payload: number, ...more })
  }

  #onFrame(frame: Push | Reply): void {
    switch (frame.type) {
      case 'welcome':
        this.#onWelcome(frame)
        break
      case 'ok':
      case 'error':
        this.#onAnswer(frame)
        break
      case 'message':
        this.#onMessage(frame)
        break
      case 'receipt':
        this.#onReceipt(frame)
        break
      case 'revoked':
        this.#onRevoked(frame)
        break
      case 'ping':
        this.#write({ type: 'pong' })
        break
      default:
    }
  }

  #onWelcome({ session, resumed, hub }: Welcome): void {
    this.#tell('welcome', { hub, resumed })
    this.#sessions++
    this.#session = session
    this.#isOpen = true
    for (const sent of this.#open.values()) this.#transmit(sent)
  }

  #onAnswer(reply: Ok | ErrorReply): void {
    if (reply.ref === 'hello') {
      const code = reply.type === 'error' ? reply.error.code : ''
      this.#tell('refused', { code })
      this.#socket?.drop(true)
      this.#socket = null
      this.#connectLater()
      return
    }
    const sent = this.#open.get(Number(reply.ref))
    if (!sent) return
    if (reply.type === 'ok') {
      sent.id = (reply.result as { id: string }).id
    } else if (reply.error.code === 'store_unavailable' || reply.error.code === 'draining') {
      this.#tell('left open', { number: sent.number, seq: sent.seq, message: reply.error.message })
      setTimeout(
        () => {
          if (this.#isOpen && this.#open.has(sent.seq)) this.#transmit(sent)
        },
        reply.error.retryAfterMs ?? this.#port.random.between(20, 100),
      )
      return
    } else {
      sent.error = reply.error.code
    }
    this.#open.delete(sent.seq)
    this.#tell('answered', { number: sent.number, seq: sent.seq, id: sent.id, error: sent.error })
  }

  #onMessage(message: Message): void {
    const { id, from, via, payload, attempt } = message
    const isHeld = this.#held.get(id)?.session === this.#sessions
    this.#tell('got', { id, from, via, number: payload, attempt, session: this.#sessions, isHeld })
    if (message.transient) return
    this.#held.set(id, { message, session: this.#sessions })
    if (this.done.has(id) && via !== 'queue') {
      this.#settle(message, 'ack')
      return
    }
    const { random } = this.#port
    const mood = this.#isCalm ? 0 : random.next()
    if (mood < 0.75) setTimeout(() => this.#settle(message, 'ack'), random.between(0, this.#isCalm ? 5 : 200))
    else if (mood < 0.9) setTimeout(() => this.#settle(message, 'nack'), random.between(0, 200))
    else if (mood < 0.95)
      setTimeout(() => this.#write({ type: 'progress', ids: [id] }), random.between(0, 200))
    // Else it forgets the message, until it is calm.
  }

  #settle({ id, via }: Message, how: 'ack' | 'nack'): void {
    const held = this.#held.get(id)
    if (!held || held.session !== this.#sessions || !this.#isOpen) return
    this.#held.delete(id)
    this.#tell(how, { id, via })
    if (how === 'ack') {
      this.done.add(id)
      this.#write({ type: 'ack', ids: [id] })
    } else {
      const { random } = this.#port
      this.#write({ type: 'nack', id, delayMs: random.chance(0.5) ? 0 : random.below(500) })
    }
  }

  #onReceipt(receipt: Receipt): void {
    this.#tell('receipt', { id: receipt.id, status: receipt.status, agentId: receipt.agentId })
    if (!this.receipts.some(({ receiptId }) => receiptId === receipt.receiptId)) this.receipts.push(receipt)
    this.#write({ type: 'ack', ids: [receipt.receiptId] })
  }

  #onRevoked({ ids, reason }: Revoked): void {
    this.#tell('revoked', { ids, reason })
    for (const id of ids) this.#held.delete(id)
  }
}
