import { MeshError } from '../protocol/errors.ts'
import type { Message, Revoked } from '../protocol/pushes.ts'
import type { Welcome } from '../protocol/replies.ts'
import type { Acks } from './acks.ts'
import { handled, handlerTimeoutError, revokedError, toError } from './errors.ts'
import { createHandlerRun } from './handler-run.ts'
import type { HandlerRun } from './handler-run.ts'
import { addHandler, findHandler } from './handlers.ts'
import type { Handlers, Registered } from './handlers.ts'
import type { IncomingLimits, IncomingPort } from './incoming-port.ts'
import { createLines } from './lines.ts'
import type { Lines } from './lines.ts'
import { isAsked, lineOf } from './message.ts'
import type { Handler, HandlerContext, HandlerOptions, ReceivedMessage } from './message.ts'
import { Nack } from './nack.ts'
import { createProgress } from './progress.ts'
import { createSettlements } from './settlements.ts'
import type { Settlements } from './settlements.ts'
import { isAsyncIterable } from './streamed-answer.ts'

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
  /** Absent: no handler has it yet. */
  run?: HandlerRun
}

/** Milliseconds that work waits for a handler here while there are others, for other agents may have one. */
const UNHANDLED_WORK_MS = 1_000

/**
 * What the hub pushes, on its way to the handlers: each message once, whatever is pushed twice; those of one sender in order,
 * those of different senders at once, up to `concurrency`. Work has as many places of its own, so neither waits for the
 * other. A handler that waits for a reply of its own takes no place and does not hold its line up, so agents that ask each
 * other don't wait for ever; replies never stand in line behind messages.
 */
export interface Incoming {
  /** What became of everything that is acknowledged. */
  readonly settlements: Settlements
  /** How many handlers run at once. */
  concurrency: number
  /**
   * Sets the handler of a type (or of a capability's work, `workOf`), or of all messages that have none of their own. Answers
   * how to remove it.
   * @throws TypeError where there is one already; RangeError for a `timeoutMs` that is none
   */
  handle(subject: string | null, handler: Handler, options?: HandlerOptions): () => void
  /** A message frame came. */
  receive(message: Message): void
  /** Keeps responses that nobody waits for until what it answers is called: who connects has had no turn yet to handle them. */
  keepEarly(): () => void
  /** The hub has taken work back: its handlers are told, and what they still do has no effect. */
  revoked(frame: Pick<Revoked, 'ids' | 'reason'>): void
  /** Starts handlers while there is room. */
  pump(): void
  /** A session is open; the hub takes back work that it has heard nothing of for `ackTimeoutMs` (0: never). */
  resume(welcome: {
    readonly limits: Pick<Welcome['limits'], 'ackTimeoutMs'>
    readonly work?: Welcome['work']
  }): void
  /** The hub has been heard, whatever it said. */
  heard(): void
  /**
   * The connection is gone. What is handled goes on; what became of it is told in the next session. Work that no handler has
   * yet is let go: it comes again, or it is somebody else's by then.
   */
  lost(): void
  /** Starts no more handlers. */
  stop(): void
  /** Resolves when no handler runs and each returned reply is stored. */
  idle(): Promise<void>
  /** Stops, and tells the handlers that nobody waits for them. */
  fail(reason: Error): void
}

const isWork = ({ message }: Held): boolean => message.via === 'queue'

/** `acks`: of what came before there was this. */
export function createIncoming(port: IncomingPort, limits: IncomingLimits, acks?: Acks): Incoming {
  const { write, emit } = port
  const settlements = createSettlements(write, acks)
  const { window, redeliveryDelayMs, unhandledTimeoutMs } = limits
  let { concurrency } = limits
  const progress = createProgress(write, workedOn)
  const handlers: Handlers = new Map()
  const held = new Map<string, Held>()
  const work: Hall = { lines: createLines(), running: 0 }
  const talk: Hall = { lines: createLines(), running: 0 }
  /** What no handler takes, and the timer by which it is given up; it has none while there are no handlers at all. */
  const unhandled = new Map<Held, ReturnType<typeof setTimeout> | undefined>()
  /** Responses that nobody waits for, while it is too early for a handler. */
  let early: Message[] | undefined
  const runs = new Set<HandlerRun>()
  let session = 0
  /** Handlers that run, and values they returned that are not stored yet. */
  let unsettled = 0
  let stopped = false
  let onIdle: (() => void) | undefined

  /** What a handler has, or will have as soon as there is a place. Work that no handler is for is left to other agents. */
  function workedOn(): string[] {
    const those = [...held.values()].filter((one) => one.run || (isWork(one) && !unhandled.has(one)))
    return those.map(({ message }) => message.id)
  }

  function enqueue(one: Held, isNew: boolean): void {
    const { message, hall, line } = one
    if (findHandler(handlers, message)) {
      if (isWork(one)) progress.start()
      hall.lines.add(line, one)
      return
    }
    const hasOthers = handlers.size > 0
    if (isNew && hasOthers) emit({ type: 'unhandled', message })
    const waitMs = isWork(one) ? Math.min(UNHANDLED_WORK_MS, unhandledTimeoutMs) : unhandledTimeoutMs
    unhandled.set(one, hasOthers ? setTimeout(() => giveBack(one), waitMs) : undefined)
  }

  /** It need not wait for a handler any more. */
  function unwait(one: Held): void {
    clearTimeout(unhandled.get(one))
    unhandled.delete(one)
  }

  /** No handler came for it. */
  function giveBack(one: Held): void {
    const { messageType, capability = '' } = one.message
    if (handlers.size === 0) return void unhandled.set(one, undefined)
    unwait(one)
    const what = isWork(one) ? `work "${capability}"` : `"${messageType}"`
    nack(one, new Nack(`no handler for ${what}`, { requeue: isWork(one) }))
  }

  /** Lets go of a message. */
  function forget(one: Held): void {
    held.delete(one.message.id)
    unwait(one)
    if (!one.run) one.hall.lines.drop(one.line)
  }

  const hasRoom = ({ running }: Hall): boolean => !stopped && running < concurrency + port.waiting()

  function pump(): void {
    for (const hall of [work, talk]) {
      while (hasRoom(hall)) {
        const next = hall.lines.take()
        if (!next) break
        void start(next.item)
      }
    }
  }

  async function start(one: Held): Promise<void> {
    const { message, hall, line } = one
    const { handler, timeoutMs } = findHandler(handlers, message) as Registered
    const run = createHandlerRun((waits) => {
      if (!waits) return hall.lines.hold(line)
      hall.lines.done(line)
      pump()
    })
    one.run = run
    runs.add(run)
    hall.running++
    unsettled++
    progress.start()
    if (timeoutMs !== undefined) run.limit(timeoutMs, () => timedOut(one, run, timeoutMs))
    let replied = false
    const received: ReceivedMessage = {
      ...message,
      reply: (payload, options = {}) => {
        if (run.lost) return handled(Promise.reject(run.lost))
        replied = true
        return port.reply(message, payload, options)
      },
    }
    const context: HandlerContext = {
      get signal() {
        return run.signal
      },
      request: (to, payload, options) => port.request(run, to, payload, options) as Promise<never>,
    }
    let value: unknown
    let failure: Error | undefined
    try {
      value = await port.scope.run(run, async () => {
        const result = await handler(received, context)
        if (!isAsyncIterable(result)) return result
        if (!isAsked(message) || replied) {
          throw new TypeError(`a handler may yield answers to queries only, not to "${message.messageType}"`)
        }
        await port.stream(message, result, run)
        return undefined
      })
    } catch (thrown) {
      failure = toError(thrown)
    }
    if (run.lost) {
      if (!failure) emit({ type: 'late_result', message })
      return
    }
    // The reply goes out in order, but the next message does not wait until it is stored.
    const settled = settle(one, run, isAsked(message) && !replied ? value : undefined, failure)
    leave(one, run)
    await settled
    settledOne()
  }

  /** A handler gives its place up. */
  function leave({ hall, line }: Held, run: HandlerRun): void {
    run.end()
    runs.delete(run)
    hall.running--
    if (!run.waits) hall.lines.done(line)
    pump()
  }

  function settledOne(): void {
    if (--unsettled === 0) onIdle?.()
  }

  /** Takes its message from a run. */
  function lose(one: Held, run: HandlerRun, reason: Error): void {
    run.lose(reason)
    if (run.ended) return
    leave(one, run)
    settledOne()
  }

  function timedOut(one: Held, run: HandlerRun, timeoutMs: number): void {
    const error = handlerTimeoutError(timeoutMs)
    emit({ type: 'handler_failed', message: one.message, error })
    nack(one, error)
    lose(one, run, error)
  }

  async function settle(one: Held, run: HandlerRun, answer: unknown, failure?: Error): Promise<void> {
    const { message } = one
    let isMoot = false
    if (!failure && answer !== undefined) {
      try {
        await port.reply(message, answer, {})
      } catch (error) {
        failure = error as Error
        // An asker that is gone will not come for its answer, however often it is worked out again.
        isMoot = failure instanceof MeshError && !failure.retryable
      }
    }
    if (failure) emit({ type: 'handler_failed', message, error: failure })
    if (run.lost) return
    if (!failure || isMoot) ack(message)
    else nack(one, failure)
  }

  function ack({ id, transient }: Message): void {
    held.delete(id)
    if (!transient) settlements.ack(id)
  }

  function nack({ message, session: pushedIn }: Held, error: Error): void {
    const { id, transient, attempt } = message
    held.delete(id)
    if (transient) return
    const how = error instanceof Nack ? error : new Nack(error.message)
    const delayMs = Math.max(0, Math.round(how.delayMs ?? redeliveryDelayMs))
    settlements.nack(id, attempt, how, delayMs, pushedIn === session)
  }

  function receive(message: Message): void {
    const { id, messageType } = message
    const isStored = !message.transient
    if (isStored) {
      if (settlements.repeat(id, message)) return
      const known = held.get(id)
      if (known) {
        known.session = session
        return
      }
    }
    if (messageType === 'response') {
      const isTaken = port.take(message)
      if (!isTaken && early) return void early.push(message)
      const isLate = !isTaken && !handlers.has(messageType)
      if (isLate) emit({ type: 'late_reply', message })
      if (isTaken || isLate) return ack(message)
    }
    const hall = message.via === 'queue' ? work : talk
    const one: Held = { message, hall, line: lineOf(message), session }
    if (isStored) held.set(id, one)
    // Of transient messages the hub pushes as many as it likes: what can't be kept up with is dropped, as on its way.
    else if (hall.lines.waiting + unhandled.size >= window) return
    enqueue(one, true)
    pump()
  }

  function revoked({ ids, reason }: Pick<Revoked, 'ids' | 'reason'>): void {
    for (const id of ids) {
      const one = held.get(id)
      if (!one) continue
      forget(one)
      emit({ type: 'revoked', message: one.message, reason })
      if (one.run) lose(one, one.run, revokedError(reason))
    }
  }

  function stop(): void {
    stopped = true
    for (const timer of unhandled.values()) clearTimeout(timer)
  }

  return {
    settlements,
    get concurrency() {
      return concurrency
    },
    set concurrency(places) {
      concurrency = places
      pump()
    },
    handle(subject, handler, options) {
      const remove = addHandler(handlers, subject, handler, options)
      for (const one of [...unhandled.keys()]) {
        unwait(one)
        enqueue(one, false)
      }
      pump()
      return () => {
        if (!remove()) return
        for (const { lines } of [work, talk]) for (const one of lines.clear()) enqueue(one, false)
      }
    },
    receive,
    keepEarly() {
      early = []
      return () => {
        const messages = early ?? []
        early = undefined
        messages.forEach(receive)
      }
    },
    revoked,
    pump,
    resume({ limits: { ackTimeoutMs }, work: ours }) {
      progress.pace(ackTimeoutMs)
      if (ours) {
        const isLost = (one: Held): boolean =>
          isWork(one) && !one.message.transient && !ours.includes(one.message.id)
        const ids = [...held.values()].filter(isLost).map(({ message }) => message.id)
        revoked({ ids, reason: 'holder_lost' })
      }
      settlements.resume()
    },
    heard: progress.catchUp,
    lost() {
      session++
      for (const one of held.values()) if (isWork(one) && !one.run) forget(one)
    },
    stop,
    idle: () =>
      new Promise((resolve) => {
        onIdle = resolve
        if (unsettled === 0) resolve()
      }),
    fail(reason) {
      stop()
      progress.stop()
      for (const run of runs) run.abort(reason)
    },
  }
}
