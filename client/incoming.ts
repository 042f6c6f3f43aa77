import { MeshError } from '../protocol/errors.ts'
import type { MessageType } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import { Lines } from './lines.ts'
import type { Handler, ReceivedMessage, ReplyOptions } from './message.ts'
import { Nack } from './nack.ts'
import { Run } from './run.ts'
import { Settlements } from './settlements.ts'
import type { Incident } from './status.ts'
import { isAsyncIterable } from './streamed-answer.ts'
import type { Line } from './writer.ts'

export interface IncomingPort {
  /** Writes to the open connection; without one, nowhere. */
  write(line: Line): void
  reply(message: Message, payload: unknown, options: ReplyOptions): Promise<SendResult>
  /** Sends what a handler yields; resolves when the message is processed, rejects where it is to be given back. */
  stream(message: Message, values: AsyncIterable<unknown>, abort: (reason: Error) => void): Promise<void>
  /** Gives a response to the request that waits for it. Answers false where none does. */
  take(message: Message): boolean
  /** Requests that wait for their reply now. */
  waiting(): number
  emit(incident: Incident): void
}

export interface IncomingLimits {
  readonly concurrency: number
  readonly window: number
  readonly redeliveryDelayMs: number
  readonly unhandledTimeoutMs: number
}

/** A message that is not settled. */
interface Held {
  readonly message: Message
  /** The session that pushed it last. */
  session: number
  /** Since when a handler of its type is missing, in milliseconds since 1970. */
  since: number
}

const ANY = ''

/** Order holds among a sender's direct messages, its responses and its broadcasts, each for itself; a queue's work has none. */
function lineOf({ id, from, via, messageType }: Message): string {
  if (via === 'queue') return `${from}\n${id}`
  return `${from}\n${messageType === 'response' ? 'response' : via === 'direct' ? 'direct' : 'broadcast'}`
}

/**
 * What the hub pushes, on its way to the handlers: each message once, whatever is pushed twice; those of one sender in order,
 * those of different senders at once, up to `concurrency`. A handler that waits for a reply of its own does not count, so
 * agents that ask each other don't wait for ever; replies never stand in line behind messages.
 */
export class Incoming {
  readonly #port: IncomingPort
  #limits: IncomingLimits
  readonly #settlements: Settlements
  readonly #handlers = new Map<string, Handler>()
  readonly #held = new Map<string, Held>()
  readonly #lines = new Lines<Held>()
  readonly #unhandled = new Set<Held>()
  readonly #runs = new Set<Run>()
  #unhandledTimer: ReturnType<typeof setTimeout> | null = null
  #session = 0
  #running = 0
  /** Handlers that run, and values they returned that are not stored yet. */
  #unsettled = 0
  #stopped = false
  #idle: (() => void)[] = []

  constructor(port: IncomingPort, limits: IncomingLimits) {
    this.#port = port
    this.#limits = limits
    this.#settlements = new Settlements((line) => port.write(line))
  }

  /** Changes how many handlers run at once. */
  set concurrency(concurrency: number) {
    this.#limits = { ...this.#limits, concurrency }
    this.pump()
  }

  /**
   * Sets the handler of a type, or of all types that have none of their own. Answers how to remove it.
   * @throws TypeError where there is one already
   */
  handle(type: MessageType | null, handler: Handler): () => void {
    const key = type ?? ANY
    if (this.#handlers.has(key)) {
      throw new TypeError(`there is a handler for ${type ?? 'all messages'} already; remove it first`)
    }
    this.#handlers.set(key, handler)
    const waited = [...this.#unhandled]
    this.#unhandled.clear()
    for (const held of waited) this.#enqueue(held, false)
    this.pump()
    return () => {
      if (this.#handlers.get(key) !== handler) return
      this.#handlers.delete(key)
      for (const held of this.#lines.clear()) this.#enqueue(held, false)
    }
  }

  /** A message frame came. */
  receive(message: Message): void {
    if (message.transient !== true) {
      if (this.#settlements.repeat(message.id)) return
      const held = this.#held.get(message.id)
      if (held !== undefined) {
        held.session = this.#session
        return
      }
    }
    if (message.messageType === 'response') {
      const taken = this.#port.take(message)
      if (!taken && !this.#handlers.has('response')) this.#port.emit({ type: 'late_reply', message })
      if (taken || !this.#handlers.has('response')) {
        this.#ack(message)
        return
      }
    }
    const held = { message, session: this.#session, since: Date.now() }
    if (message.transient !== true) this.#held.set(message.id, held)
    // Of transient messages the hub pushes as many as it likes: what can't be kept up with is dropped, as on its way.
    else if (this.#lines.waiting + this.#unhandled.size >= this.#limits.window) return
    this.#enqueue(held, true)
    this.pump()
  }

  /** Starts handlers while there is room. */
  pump(): void {
    while (!this.#stopped && this.#running < this.#limits.concurrency + this.#port.waiting()) {
      const next = this.#lines.take()
      if (next === undefined) return
      void this.#run(next.key, next.item)
    }
  }

  /** A session is open. */
  resume(): void {
    this.#settlements.resume()
  }

  /** The connection is gone. What is handled goes on; what became of it is told in the next session. */
  lost(): void {
    this.#session++
  }

  /** Starts no more handlers. */
  stop(): void {
    this.#stopped = true
    if (this.#unhandledTimer !== null) clearTimeout(this.#unhandledTimer)
    this.#unhandledTimer = null
  }

  /** Resolves when no handler runs and each returned reply is stored. */
  idle(): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Stops, and tells the handlers that nobody waits for them. */
  abort(reason: Error): void {
    this.stop()
    for (const run of this.#runs) run.abort(reason)
  }

  #handlerOf({ messageType }: Message): Handler | undefined {
    return this.#handlers.get(messageType) ?? this.#handlers.get(ANY)
  }

  #enqueue(held: Held, isNew: boolean): void {
    const { message } = held
    if (this.#handlerOf(message) !== undefined) {
      this.#lines.add(lineOf(message), held)
      return
    }
    this.#unhandled.add(held)
    if (this.#handlers.size === 0) return
    if (isNew) this.#port.emit({ type: 'unhandled', message })
    else held.since = Date.now()
    this.#unhandledTimer ??= setTimeout(() => this.#expireUnhandled(), this.#limits.unhandledTimeoutMs)
  }

  #expireUnhandled(): void {
    this.#unhandledTimer = null
    if (this.#handlers.size === 0) return
    const dueAt = Date.now() - this.#limits.unhandledTimeoutMs
    for (const held of this.#unhandled) {
      if (held.since > dueAt) continue
      this.#unhandled.delete(held)
      this.#nack(held, new Nack(`no handler for "${held.message.messageType}"`, { requeue: false }))
    }
    const [oldest] = this.#unhandled
    if (oldest === undefined) return
    this.#unhandledTimer = setTimeout(() => this.#expireUnhandled(), Math.max(1, oldest.since - dueAt))
  }

  async #run(key: string, held: Held): Promise<void> {
    const { message } = held
    const handler = this.#handlerOf(message)
    this.#running++
    this.#unsettled++
    const run = new Run()
    this.#runs.add(run)
    let replied = false
    let value: unknown
    let failure: Error | null = null
    const received: ReceivedMessage = {
      ...message,
      reply: (payload, options = {}) => {
        replied = true
        return this.#port.reply(message, payload, options)
      },
    }
    try {
      value = await handler?.(received, run)
      if (isAsyncIterable(value)) {
        if (message.messageType !== 'query' || replied) {
          throw new TypeError(`a handler may yield answers to queries only, not to "${message.messageType}"`)
        }
        await this.#port.stream(message, value, run.abort)
        value = undefined
      }
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error))
    }
    this.#runs.delete(run)
    // The reply goes out in order, but the next message does not wait until it is stored.
    const answer = replied || message.messageType !== 'query' ? undefined : value
    const settled = this.#settle(held, answer, failure)
    this.#running--
    this.#lines.done(key)
    this.pump()
    await settled
    if (--this.#unsettled === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #settle(held: Held, answer: unknown, failure: Error | null): Promise<void> {
    const { message } = held
    if (failure === null && answer !== undefined) {
      try {
        await this.#port.reply(message, answer, {})
      } catch (error) {
        failure = error as Error
        this.#port.emit({ type: 'handler_failed', message, error: failure })
        // An asker that is gone will not come for its answer, however often it is worked out again.
        if (failure instanceof MeshError && !failure.retryable) failure = null
      }
    } else if (failure !== null) {
      this.#port.emit({ type: 'handler_failed', message, error: failure })
    }
    if (failure === null) this.#ack(message)
    else this.#nack(held, failure instanceof Nack ? failure : new Nack(failure.message))
  }

  #ack(message: Message): void {
    this.#held.delete(message.id)
    if (message.transient !== true) this.#settlements.ack(message.id)
  }

  #nack(held: Held, nack: Nack): void {
    const { message } = held
    this.#held.delete(message.id)
    if (message.transient === true) return
    const delayMs = Math.max(0, Math.round(nack.delayMs ?? this.#limits.redeliveryDelayMs))
    this.#settlements.nack(message.id, nack, delayMs, held.session === this.#session)
  }
}
