import { MeshError } from '../protocol/errors.ts'
import type { Message, Revoked } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import { handled, handlerTimeoutError, revokedError, toError } from './errors.ts'
import { HandlerRun } from './handler-run.ts'
import { Handlers } from './handlers.ts'
import type { Registered } from './handlers.ts'
import { Lines } from './lines.ts'
import { isAsked, lineOf } from './message.ts'
import type { Handler, HandlerContext, HandlerOptions, ReceivedMessage, ReplyOptions } from './message.ts'
import { Nack } from './nack.ts'
import { Progress } from './progress.ts'
import { Settlements } from './settlements.ts'
import type { Incident } from './status.ts'
import type { Scope } from './scope.ts'
import { isAsyncIterable } from './streamed-answer.ts'
import { Unhandled } from './unhandled.ts'
import type { Line } from './writer.ts'

export interface IncomingPort {
  readonly scope: Scope
  /** Writes to the open connection; without one, nowhere. */
  write(line: Line): void
  reply(message: Message, payload: unknown, options: ReplyOptions): Promise<SendResult>
  /** A request that `run` waits for. */
  request(run: HandlerRun, ...args: Parameters<HandlerContext['request']>): Promise<Message>
  /** Sends what a handler yields; resolves when the message is processed, rejects where it is to be given back. */
  stream(message: Message, values: AsyncIterable<unknown>, run: HandlerRun): Promise<void>
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

/** Messages that wait for a place, and how many places are taken. */
interface Hall {
  readonly lines: Lines<Held>
  running: number
}

/** A message that is not settled. */
interface Held {
  readonly message: Message
  readonly hall: Hall
  readonly line: string
  /** The session that pushed it last. */
  session: number
  /** Null: no handler has it yet. */
  run: HandlerRun | null
}

/** Milliseconds that work waits for a handler here while there are others. */
const UNHANDLED_WORK_MS = 1_000

/**
 * What the hub pushes, on its way to the handlers: each message once, whatever is pushed twice; those of one sender in order,
 * those of different senders at once, up to `concurrency`. Work has as many places of its own, so neither waits for the
 * other. A handler that waits for a reply of its own takes no place and does not hold its line up, so agents that ask each
 * other don't wait for ever; replies never stand in line behind messages.
 */
export class Incoming {
  /** What became of everything that is acknowledged. */
  readonly settlements: Settlements
  readonly #port: IncomingPort
  #limits: IncomingLimits
  readonly #progress: Progress
  readonly #handlers = new Handlers()
  readonly #held = new Map<string, Held>()
  readonly #work: Hall = { lines: new Lines(), running: 0 }
  readonly #talk: Hall = { lines: new Lines(), running: 0 }
  readonly #unhandled = new Unhandled<Held>((held) => this.#giveBack(held))
  /** Responses that nobody waits for, while it is too early for a handler; null: it is not. */
  #early: Message[] | null = null
  readonly #runs = new Set<HandlerRun>()
  #session = 0
  /** Handlers that run, and values they returned that are not stored yet. */
  #unsettled = 0
  #stopped = false
  #idle: (() => void)[] = []

  constructor(port: IncomingPort, limits: IncomingLimits) {
    this.#port = port
    this.#limits = limits
    this.settlements = new Settlements((line) => port.write(line))
    this.#progress = new Progress(
      (line) => port.write(line),
      () => this.#workedOn(),
    )
  }

  /** Changes how many handlers run at once. */
  set concurrency(concurrency: number) {
    this.#limits = { ...this.#limits, concurrency }
    this.pump()
  }

  /**
   * Sets the handler of a type (or of a capability's work, `workOf`), or of all messages that have none of their own. Answers
   * how to remove it.
   * @throws TypeError where there is one already; RangeError for a `timeoutMs` that is none
   */
  handle(subject: string | null, handler: Handler, options: HandlerOptions = {}): () => void {
    const remove = this.#handlers.add(subject, handler, options)
    const waited = this.#unhandled.take()
    for (const held of waited) this.#enqueue(held, false)
    this.pump()
    return () => {
      if (!remove()) return
      for (const { lines } of [this.#work, this.#talk]) {
        for (const held of lines.clear()) this.#enqueue(held, false)
      }
    }
  }

  /** A message frame came. */
  receive(message: Message): void {
    if (message.transient !== true) {
      if (this.settlements.repeat(message.id, message)) return
      const held = this.#held.get(message.id)
      if (held !== undefined) {
        held.session = this.#session
        return
      }
    }
    if (message.messageType === 'response') {
      const taken = this.#port.take(message)
      if (!taken && this.#early !== null) {
        this.#early.push(message)
        return
      }
      if (!taken && !this.#handlers.has('response')) this.#port.emit({ type: 'late_reply', message })
      if (taken || !this.#handlers.has('response')) {
        this.#ack(message)
        return
      }
    }
    const hall = message.via === 'queue' ? this.#work : this.#talk
    const held: Held = {
      message,
      hall,
      line: lineOf(message),
      session: this.#session,
      run: null,
    }
    if (message.transient !== true) this.#held.set(message.id, held)
    // Of transient messages the hub pushes as many as it likes: what can't be kept up with is dropped, as on its way.
    else if (hall.lines.waiting + this.#unhandled.size >= this.#limits.window) return
    this.#enqueue(held, true)
    this.pump()
  }

  /** From now until `releaseEarly` responses that nobody waits for are kept: who connects has had no turn yet to handle them. */
  keepEarly(): void {
    this.#early ??= []
  }

  releaseEarly(): void {
    const early = this.#early ?? []
    this.#early = null
    for (const message of early) this.receive(message)
  }

  /** The hub has taken work back: its handlers are told, and what they still do has no effect. */
  revoked({ ids, reason }: Revoked): void {
    for (const id of ids) {
      const held = this.#held.get(id)
      if (held === undefined) continue
      const { message, hall, line, run } = held
      this.#held.delete(id)
      this.#unhandled.delete(held)
      if (run === null) hall.lines.drop(line)
      this.#port.emit({ type: 'revoked', message, reason })
      if (run !== null) this.#lose(held, run, revokedError(reason))
    }
  }

  /** Starts handlers while there is room. */
  pump(): void {
    for (const hall of [this.#work, this.#talk]) {
      while (!this.#stopped && hall.running < this.#limits.concurrency + this.#port.waiting()) {
        const next = hall.lines.take()
        if (next === undefined) break
        void this.#run(next.item)
      }
    }
  }

  /** A session is open; the hub takes back work that it has heard nothing of for `ackTimeoutMs` (0: never). */
  resume(ackTimeoutMs = 0, work: readonly string[] | null = null): void {
    this.#progress.ackTimeoutMs = ackTimeoutMs
    if (work !== null) {
      const isWork = ({ hall, message }: Held): boolean => hall === this.#work && message.transient !== true
      const lost = [...this.#held.values()].filter((held) => isWork(held) && !work.includes(held.message.id))
      this.revoked({ type: 'revoked', ids: lost.map(({ message }) => message.id), reason: 'holder_lost' })
    }
    this.settlements.resume()
  }

  /** The hub has been heard, whatever it said. */
  heard(): void {
    this.#progress.catchUp()
  }

  /**
   * The connection is gone. What is handled goes on; what became of it is told in the next session. Work that no handler has
   * yet is let go: it comes again, or it is somebody else's by then.
   */
  lost(): void {
    this.#session++
    for (const [id, held] of this.#held) {
      if (held.hall !== this.#work || held.run !== null) continue
      this.#held.delete(id)
      this.#unhandled.delete(held)
      held.hall.lines.drop(held.line)
    }
  }

  /** Starts no more handlers. */
  stop(): void {
    this.#stopped = true
    this.#unhandled.stop()
  }

  /** Resolves when no handler runs and each returned reply is stored. */
  idle(): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Stops, and tells the handlers that nobody waits for them. */
  abort(reason: Error): void {
    this.stop()
    this.#progress.stop()
    for (const run of this.#runs) run.abort(reason)
  }

  /** What a handler has, or will have as soon as there is a place. Work that no handler is for is left to other agents. */
  #workedOn(): string[] {
    const ids: string[] = []
    for (const [id, held] of this.#held) {
      if (held.run !== null || (held.hall === this.#work && !this.#unhandled.has(held))) ids.push(id)
    }
    return ids
  }

  #enqueue(held: Held, isNew: boolean): void {
    const { message, hall, line } = held
    if (this.#handlers.find(message) !== undefined) {
      if (hall === this.#work) this.#progress.start()
      hall.lines.add(line, held)
      return
    }
    const hasOthers = this.#handlers.size > 0
    if (isNew && hasOthers) this.#port.emit({ type: 'unhandled', message })
    this.#unhandled.add(held, hasOthers ? this.#patience(held) : Infinity)
  }

  /** How long a message may wait for a handler while there are others: work not long, for other agents may have one. */
  #patience({ hall }: Held): number {
    const { unhandledTimeoutMs } = this.#limits
    return hall === this.#work ? Math.min(UNHANDLED_WORK_MS, unhandledTimeoutMs) : unhandledTimeoutMs
  }

  /** No handler came for it. */
  #giveBack(held: Held): void {
    const isWork = held.hall === this.#work
    const { messageType, capability } = held.message
    const what = isWork ? `work "${capability ?? ''}"` : `"${messageType}"`
    if (this.#handlers.size === 0) this.#unhandled.add(held, Infinity)
    else this.#nack(held, new Nack(`no handler for ${what}`, { requeue: isWork }))
  }

  async #run(held: Held): Promise<void> {
    const { message, hall, line } = held
    const registered = this.#handlers.find(message) as Registered
    const run = new HandlerRun((waits) => {
      if (!waits) return hall.lines.hold(line)
      hall.lines.done(line)
      this.pump()
    })
    held.run = run
    this.#runs.add(run)
    hall.running++
    this.#unsettled++
    this.#progress.start()
    const { handler, timeoutMs } = registered
    if (timeoutMs !== undefined) run.limit(timeoutMs, () => this.#timedOut(held, run, timeoutMs))
    let replied = false
    const received: ReceivedMessage = {
      ...message,
      reply: (payload, options = {}) => {
        if (run.lost !== null) return handled(Promise.reject(run.lost))
        replied = true
        return this.#port.reply(message, payload, options)
      },
    }
    const context: HandlerContext = {
      get signal() {
        return run.signal
      },
      request: (to, payload, options) => this.#port.request(run, to, payload, options) as Promise<never>,
    }
    let value: unknown
    let failure: Error | null = null
    try {
      value = await this.#port.scope.run(run, async () => {
        const result = await handler(received, context)
        if (!isAsyncIterable(result)) return result
        if (!isAsked(message) || replied) {
          throw new TypeError(`a handler may yield answers to queries only, not to "${message.messageType}"`)
        }
        await this.#port.stream(message, result, run)
        return undefined
      })
    } catch (error) {
      failure = toError(error)
    }
    if (run.lost !== null) {
      if (failure === null) this.#port.emit({ type: 'late_result', message })
      return
    }
    // The reply goes out in order, but the next message does not wait until it is stored.
    const answer = replied || !isAsked(message) ? undefined : value
    const settled = this.#settle(held, run, answer, failure)
    this.#leave(held, run)
    await settled
    this.#settledOne()
  }

  /** A handler gives its place up. */
  #leave({ hall, line }: Held, run: HandlerRun): void {
    run.end()
    this.#runs.delete(run)
    hall.running--
    if (!run.waits) hall.lines.done(line)
    this.pump()
  }

  #settledOne(): void {
    if (--this.#unsettled === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Takes its message from a run. */
  #lose(held: Held, run: HandlerRun, reason: Error): void {
    run.lose(reason)
    if (run.ended) return
    this.#leave(held, run)
    this.#settledOne()
  }

  #timedOut(held: Held, run: HandlerRun, timeoutMs: number): void {
    const error = handlerTimeoutError(timeoutMs)
    this.#port.emit({ type: 'handler_failed', message: held.message, error })
    this.#nack(held, new Nack(error.message))
    this.#lose(held, run, error)
  }

  async #settle(held: Held, run: HandlerRun, answer: unknown, failure: Error | null): Promise<void> {
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
      if (run.lost !== null) return
    } else if (failure !== null) {
      this.#port.emit({ type: 'handler_failed', message, error: failure })
    }
    if (failure === null) this.#ack(message)
    else this.#nack(held, failure instanceof Nack ? failure : new Nack(failure.message))
  }

  #ack(message: Message): void {
    this.#held.delete(message.id)
    if (message.transient !== true) this.settlements.ack(message.id)
  }

  #nack(held: Held, nack: Nack): void {
    const { message } = held
    this.#held.delete(message.id)
    if (message.transient === true) return
    const delayMs = Math.max(0, Math.round(nack.delayMs ?? this.#limits.redeliveryDelayMs))
    this.settlements.nack(message.id, message.attempt, nack, delayMs, held.session === this.#session)
  }
}
