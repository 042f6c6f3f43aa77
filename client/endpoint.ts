import type { AgentInfo } from '../protocol/agent.ts'
import { MeshError } from '../protocol/errors.ts'
import { PROTOCOL_VERSION } from '../protocol/limits.ts'
import type { Target } from '../protocol/message.ts'
import type { Message, Push } from '../protocol/pushes.ts'
import type { Reply, SendResult, Welcome } from '../protocol/replies.ts'
import { Calls } from './calls.ts'
import type { Asked, WaitOptions } from './calls.ts'
import { seal } from './envelope.ts'
import type { SealOptions } from './envelope.ts'
import { closedError, handled } from './errors.ts'
import { randomId } from './ids.ts'
import { Incoming } from './incoming.ts'
import { Lifecycle } from './lifecycle.ts'
import type { HandlerRun } from './handler-run.ts'
import type { ReplyOptions } from './message.ts'
import type { Settings, UpdateFields } from './options.ts'
import { Outgoing } from './outgoing.ts'
import type { OutgoingPort } from './outgoing.ts'
import { Receipts } from './receipts.ts'
import { Requests } from './requests.ts'
import type { RequestOptions } from './requests.ts'
import { told, Validation } from './schemas.ts'
import type { Part } from './schemas.ts'
import type { Platform } from './socket.ts'
import type { ConnectionState } from './state.ts'
import { Statuses } from './status.ts'
import type { StreamRequestOptions } from './stream.ts'
import type { StreamReader } from './stream-reader.ts'
import { Streams } from './streams.ts'
import { Subscriptions } from './subscriptions.ts'
import { TokenRefresh } from './token-refresh.ts'

/** Nobody waits for the answer of what an earlier client asked. */
const ASKED = { type: 'query', fleeting: true } as const

/** What a target is short for. */
export function toTarget(to: Target | string): Target {
  return typeof to === 'string' ? { agent: to } : to
}

/** This end of the mesh: one lifecycle of connections, and everything that has to go on over them. */
export class Endpoint {
  readonly statuses: Statuses
  readonly requests: Requests
  readonly incoming: Incoming
  readonly receipts: Receipts
  readonly subscriptions: Subscriptions
  readonly streams: Streams
  readonly validation: Validation
  /** Rejects when the endpoint ends before its first session. */
  readonly welcomed: Promise<void>
  /** The error it ended with, null after `close`. Never rejects. */
  readonly closed: Promise<Error | null>
  readonly #settings: Settings
  readonly #platform: Platform
  readonly #lifecycle: Lifecycle
  readonly #outgoing: Outgoing
  readonly #calls: Calls
  readonly #refresh: TokenRefresh | null
  #onWelcomed: () => void = () => undefined
  #onNoWelcome: (error: Error) => void = () => undefined
  #onClosed: (error: Error | null) => void = () => undefined
  #welcome: Welcome | null = null
  #agent: AgentInfo | null = null
  /** What `update` changed: told again by later `hello`s, but for the status, which those can't tell. */
  #updated: UpdateFields = {}
  #closing = false

  constructor(platform: Platform, settings: Settings) {
    this.#settings = settings
    this.#platform = platform
    this.closed = new Promise((resolve) => (this.#onClosed = resolve))
    this.welcomed = new Promise((resolve, reject) => {
      this.#onWelcomed = resolve
      this.#onNoWelcome = reject
    })
    this.statuses = new Statuses(settings.onStatus)
    this.validation = new Validation(settings.schemas)
    this.#lifecycle = new Lifecycle(platform, settings, {
      hello: () => this.#hello(),
      accepts: ({ resumed }) => this.#outgoing.accepts(resumed),
      opened: (welcome) => this.#opened(welcome),
      frame: (frame) => this.#frame(frame),
      lost: () => this.#lost(),
      changed: (state) => this.#changed(state),
    })
    const port: OutgoingPort = {
      write: (line) => this.#lifecycle.write(line),
      renew: () => this.#lifecycle.renew(new MeshError('bad_frame', 'the hub numbers the sends differently')),
      emit: (incident) => this.statuses.emit(incident),
    }
    const limits = { maxSends: settings.maxOutgoing, maxBytes: settings.maxOutgoingBytes }
    this.#outgoing = settings.outbox?.outgoing(port, limits) ?? new Outgoing(port, limits)
    this.#calls = new Calls((line) => this.#lifecycle.write(line), settings.maxOutgoing)
    const { token } = settings
    this.#refresh =
      typeof token === 'function'
        ? new TokenRefresh(token, (command, settle) => this.#calls.once(command, settle))
        : null
    this.subscriptions = new Subscriptions(this.#calls)
    this.requests = new Requests(() => this.incoming.pump())
    this.streams = new Streams({
      write: (line) => this.#lifecycle.write(line),
      ask: (command, settle, fail) => this.#calls.once(command, settle, fail),
      refuse: (correlationId, error) => this.requests.refuse(correlationId, error),
      changed: () => this.incoming.pump(),
      emit: (incident) => this.statuses.emit(incident),
      maxPayloadBytes: () => this.#welcome?.limits.maxPayloadBytes ?? 0,
    })
    this.incoming = new Incoming(
      {
        scope: platform.scope,
        write: (line) => this.#lifecycle.write(line),
        request: (run, to, payload, options) => this.request(toTarget(to), payload, options, run),
        reply: (message, payload, options) => this.#reply(message, payload, options),
        stream: (message, values, run) =>
          this.streams.answer(message, this.validation.chunks(message.messageType, values), run),
        take: (message) => this.requests.take(message) || this.streams.take(message),
        waiting: () => this.requests.size + this.streams.waiting,
        emit: (incident) => this.statuses.emit(told(incident)),
      },
      { ...settings, concurrency: settings.agent?.concurrency ?? 1 },
    )
    this.receipts = new Receipts({
      settlements: this.incoming.settlements,
      emit: (incident) => this.statuses.emit(incident),
    })
  }

  get state(): ConnectionState {
    return this.#lifecycle.state
  }

  /** The latest one. */
  get welcome(): Welcome | null {
    return this.#welcome
  }

  get agent(): AgentInfo | null {
    return this.#agent
  }

  start(): void {
    this.#lifecycle.start()
  }

  /** Sends what the schema of `type` lets pass; of a reply `type` is that of what it answers. */
  send(
    to: Target,
    payload: unknown,
    options: SealOptions,
    part: Part = 'payload',
    type: string = options.type ?? 'notification',
  ): Promise<SendResult> {
    try {
      if (this.state.type === 'closed') throw closedError('send')
      if (this.#welcome?.agent == null)
        throw new MeshError('forbidden', 'an observer can not send; connect with a name')
      const { tail, bytes } = seal(to, payload, options, this.#welcome.limits.maxPayloadBytes)
      const checked = this.validation.check(part, type, payload)
      const add = (): Promise<SendResult> => {
        if (this.state.type === 'closed') throw closedError('send')
        return this.#outgoing.add(tail, bytes, to, options)
      }
      return handled(this.validation.inOrder(checked, add))
    } catch (error) {
      return handled(Promise.reject(error as Error))
    }
  }

  /** Sends a query and waits for its response; the handler's run that asks, if one does, counts as waiting. */
  request(
    to: Target,
    payload: unknown,
    options: RequestOptions = {},
    run: HandlerRun | undefined = this.#platform.scope.getStore(),
  ): Promise<Message<never>> {
    const { timeoutMs = this.#settings.requestTimeoutMs, signal, ...rest } = options
    const { correlationId, reply, signal: withdrawn, fail } = this.requests.open(timeoutMs, signal)
    run?.wait(reply)
    const query = { ...ASKED, ttlMs: timeoutMs, ...rest, correlationId, signal: withdrawn }
    this.send(to, payload, query).catch(fail)
    return this.validation.reply(query.type, reply) as Promise<Message<never>>
  }

  /** A query whose answer is a stream; a handler that reads it counts as waiting until the stream is over. */
  requestStream(to: Target, payload: unknown, options: StreamRequestOptions): StreamReader {
    const { timeoutMs = this.#settings.requestTimeoutMs, window, signal, ...rest } = options
    const correlationId = randomId()
    const reader = this.streams.expect(correlationId, { timeoutMs, window, signal })
    this.#platform.scope.getStore()?.wait(reader.over)
    const query = { ...ASKED, ttlMs: timeoutMs, ...rest, correlationId, signal: reader.withdrawn }
    this.send(to, payload, query).catch((error: Error) => reader.unasked(error))
    return this.validation.reader(query.type, reader)
  }

  ask<Result>(command: Asked, options: WaitOptions): Promise<Result> {
    if (this.state.type === 'closed') return handled(Promise.reject(closedError(command.type)))
    const { timeoutMs = this.#settings.requestTimeoutMs, signal } = options
    return handled(this.#calls.ask<Result>(command, { timeoutMs, signal }))
  }

  /** Keeps what an `update` changed. */
  updated(fields: UpdateFields, agent: AgentInfo): void {
    this.#updated = { ...this.#updated, ...fields }
    this.#agent = agent
    if (fields.concurrency !== undefined) this.incoming.concurrency = fields.concurrency
  }

  /** Ends at once. */
  end(error: Error): Promise<void> {
    return this.#lifecycle.end(error)
  }

  /** Ends in order; see `Client.close`. */
  async close(unregister: boolean): Promise<void> {
    const { closeTimeoutMs } = this.#settings
    let late: ReturnType<typeof setTimeout> | undefined
    const deadline = new Promise<void>((resolve) => (late = setTimeout(resolve, closeTimeoutMs)))
    const within = (work: Promise<unknown>): Promise<unknown> => Promise.race([work, deadline, this.closed])
    this.#closing = true
    this.incoming.stop()
    this.#lifecycle.drain()
    await within(this.incoming.idle())
    await within(Promise.resolve(this.validation.idle))
    await within(this.#outgoing.idle())
    await within(this.#bye(unregister))
    clearTimeout(late)
    await this.#lifecycle.end(null)
    await this.#settings.outbox?.close()
  }

  /** Says `bye` and waits for its answer. Without a connection the agent is as good as offline; unregistering needs one. */
  async #bye(unregister: boolean): Promise<void> {
    const bye = { type: 'bye', keep: !unregister }
    if (unregister) {
      await this.ask(bye, { timeoutMs: this.#settings.closeTimeoutMs }).catch(() => undefined)
    } else if (this.state.type === 'draining') {
      await new Promise<void>((resolve) =>
        this.#calls.once(
          bye,
          () => resolve(),
          () => resolve(),
        ),
      )
    }
  }

  #reply(message: Message, payload: unknown, options: ReplyOptions): Promise<SendResult> {
    const { traceparent, correlationId = message.id } = message
    const trace = traceparent === undefined ? {} : { traceparent }
    const fields = { ...trace, ...options, type: 'response', correlationId, fleeting: true as const }
    return this.send({ agent: message.from }, payload, fields, 'reply', message.messageType)
  }

  #hello(): Readonly<Record<string, unknown>> {
    const { namespace, agent, window } = this.#settings
    const common = { protocol: PROTOCOL_VERSION, namespace }
    if (agent === null) return common
    const { status: _status, statusReason: _reason, metrics: _metrics, ...updated } = this.#updated
    return {
      ...common,
      producer: this.#outgoing.greet(),
      session: this.#welcome?.session ?? this.#settings.session,
      window,
      agent: { ...agent, ...updated, id: this.#agent?.id ?? agent.id },
    }
  }

  #opened(welcome: Welcome): void {
    if (this.#welcome === null) {
      // What comes in one go with the first welcome must not be dropped before `connect` has resolved.
      this.incoming.keepEarly()
      this.#platform.defer(() => this.incoming.releaseEarly())
    }
    this.#welcome = welcome
    this.#agent = welcome.agent
    this.#calls.resume()
    const { status, statusReason } = this.#updated
    if (status === 'degraded' && welcome.agent?.status !== 'degraded') {
      void this.ask({ type: 'update', status, statusReason }, {})
    }
    this.#outgoing.resume()
    this.incoming.resume(welcome.limits.ackTimeoutMs, welcome.work)
    this.subscriptions.resume()
    this.#refresh?.opened(welcome)
    if (this.#closing) this.#lifecycle.drain()
    this.#onWelcomed()
  }

  #frame(frame: Reply | Push): void {
    switch (frame.type) {
      case 'ok':
      case 'error':
        if (typeof frame.ref === 'number') this.#outgoing.answered(frame)
        else if (frame.ref != null) this.#calls.answered(frame)
        else if (frame.type === 'error') {
          this.statuses.emit({ type: 'complaint', error: MeshError.fromBody(frame.error) })
        }
        return
      case 'message':
        return this.incoming.receive(frame)
      case 'receipt':
        return this.receipts.receive(frame)
      case 'revoked':
        return this.incoming.revoked(frame)
      case 'event':
      case 'snapshot':
        return this.subscriptions.push(frame)
      case 'stream.open':
      case 'stream.credit':
      case 'stream.chunk':
      case 'stream.end':
      case 'stream.cancel':
        return this.streams.frame(frame)
      case 'goaway':
        this.#lifecycle.goAway(frame.reconnectAfterMs)
        return this.statuses.emit({ type: 'goaway', reconnectAfterMs: frame.reconnectAfterMs })
      case 'ping':
        return this.incoming.heard()
      case 'pong':
      case 'welcome':
    }
  }

  #lost(): void {
    this.#refresh?.stop()
    this.#calls.lost()
    this.#outgoing.lost()
    this.incoming.lost()
    this.subscriptions.lost()
    this.streams.lost(this.#closing)
  }

  #changed(state: ConnectionState): void {
    this.statuses.emit(state)
    if (state.type !== 'closed') return
    const error = state.error ?? closedError('left unanswered')
    this.incoming.abort(error)
    this.requests.fail(error)
    this.receipts.fail(error)
    this.streams.fail(error)
    this.#outgoing.fail(error)
    void this.#settings.outbox?.close()
    this.#calls.fail(error)
    this.subscriptions.fail(state.error)
    this.#onNoWelcome(error)
    this.#onClosed(state.error)
  }
}
