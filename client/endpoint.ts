import type { AgentInfo } from '../protocol/agent.ts'
import { MeshError } from '../protocol/errors.ts'
import { PROTOCOL_VERSION } from '../protocol/limits.ts'
import type { Target } from '../protocol/message.ts'
import type { Message, Push } from '../protocol/pushes.ts'
import type {
  DiscoverResult,
  ErrorReply,
  LeaderResult,
  Ok,
  Reply,
  SendResult,
  UpdateResult,
  Welcome,
} from '../protocol/replies.ts'
import { createCalls } from './calls.ts'
import type { Command, WaitOptions } from './calls.ts'
import type { Client, DiscoverOptions } from './client.ts'
import { createDeadLetters } from './dead-letters.ts'
import { seal } from './envelope.ts'
import type { Audience, SealOptions, SendOptions } from './envelope.ts'
import { abortError, badFrame, closedError, handled } from './errors.ts'
import type { HandlerRun } from './handler-run.ts'
import { workOf } from './handlers.ts'
import { randomId } from './ids.ts'
import { createIncoming } from './incoming.ts'
import { createLifecycle } from './lifecycle.ts'
import type { Handler, HandlerOptions } from './message.ts'
import { toSettings } from './options.ts'
import type { ConnectOptions, Settings, UpdateFields } from './options.ts'
import { Outgoing } from './outgoing.ts'
import type { OutgoingPort } from './outgoing.ts'
import { allPages } from './pages.ts'
import { createPending } from './pending.ts'
import { createReceipts } from './receipts.ts'
import { createRequests } from './requests.ts'
import type { Asked, RequestOptions } from './requests.ts'
import { told, createValidation } from './schemas.ts'
import type { Part as Checked } from './schemas.ts'
import type { Platform } from './socket.ts'
import type { ConnectionState } from './state.ts'
import { createStatuses } from './status.ts'
import type { StreamHandler, StreamRequestOptions } from './stream.ts'
import type { StreamReaderOptions } from './stream-reader.ts'
import { createStreams } from './streams.ts'
import { createSubscriptions } from './subscriptions.ts'
import { createTokenRefresh } from './token-refresh.ts'
import type { Where } from './where.ts'

/** What goes on over connections. */
interface Part {
  /** A session is open. */
  resume?(welcome: Welcome): void
  /** The connection is gone; `closing`: and there will be no other one. */
  lost?(closing: boolean): void
  /** The client has ended: `error` is for what is open, `reason` is null where it was closed. */
  fail?(error: Error, reason: Error | null): void
}

type Frame = Reply | Push
/** What is done about each frame that comes on an open session. */
type Frames = { readonly [Type in Frame['type']]?: (frame: Extract<Frame, { readonly type: Type }>) => void }

const EVERYBODY: Audience = { all: true }
/** Nobody waits for the answer of what an earlier client asked. */
const ASKED = { type: 'query', fleeting: true } as const

/** What a target is short for. */
function toTarget(to: Target | string): Target {
  return typeof to === 'string' ? { agent: to } : to
}

/** Connects on a platform; what `connect` of both entries is made of. */
export async function connectOn(platform: Platform, options: ConnectOptions): Promise<Client> {
  const { signal } = options
  const settings = toSettings(options)
  const { agent, namespace, outbox } = settings
  if (outbox) await outbox.open(namespace, agent?.id)
  try {
    if (signal?.aborted) throw abortError(signal)
    return await createClient(platform, settings, signal)
  } catch (error) {
    await outbox?.close()
    throw error
  }
}

/** A client that is welcomed. */
async function createClient(
  platform: Platform,
  settings: Settings,
  signal: AbortSignal | undefined,
): Promise<Client> {
  let welcome: Welcome | undefined
  let agent: AgentInfo | null = null
  /** What `update` changed: told again by later `hello`s, but for the status, which those can't tell. */
  let updated: UpdateFields = {}
  let closing: Promise<void> | undefined

  const pump = (): void => incoming.pump()
  const { emit, follow } = createStatuses(settings.onStatus)
  const lifecycle = createLifecycle(platform, settings, {
    hello,
    accepts: ({ resumed }) => outgoing.accepts(resumed),
    opened,
    frame: (frame) => {
      if (Object.hasOwn(frames, frame.type)) (frames[frame.type] as (frame: Frame) => void)(frame)
    },
    lost: () => partsUp.forEach((part) => part.lost?.(closing !== undefined)),
    changed,
  })
  const validation = createValidation(settings.schemas)
  const { write } = lifecycle
  const calls = createCalls(write, settings.maxOutgoing)
  const port: OutgoingPort = {
    write,
    renew: () => lifecycle.renew(badFrame('the hub numbers the sends differently')),
    emit,
  }
  const limits = { maxSends: settings.maxOutgoing, maxBytes: settings.maxOutgoingBytes }
  const outgoing = settings.outbox?.outgoing(port, limits) ?? new Outgoing(port, limits)
  const subscriptions = createSubscriptions(calls)
  const requests = createRequests(pump)
  const streams = createStreams({
    write,
    once: calls.once,
    refuse: requests.refuse,
    changed: pump,
    emit,
    maxPayloadBytes: () => welcome?.limits.maxPayloadBytes ?? 0,
  })
  const incoming = createIncoming(
    {
      scope: platform.scope,
      write,
      emit: (incident) => emit(told(incident)),
      request: (run, to, payload, how) => asked(to, payload, how, run),
      reply: ({ from, id, messageType, traceparent, correlationId = id }, payload, how) =>
        send(
          { agent: from },
          payload,
          {
            ...(traceparent === undefined ? {} : { traceparent }),
            ...how,
            type: 'response',
            correlationId,
            fleeting: true,
          },
          'reply',
          messageType,
        ),
      stream: (message, values, run) =>
        streams.answer(message, validation.chunks(message.messageType, values), run),
      take: (message) => requests.take(message) || streams.take(message),
      waiting: () => requests.size + streams.waiting,
    },
    { ...settings, concurrency: settings.agent?.concurrency ?? 1 },
  )
  const receipts = createReceipts({ settlements: incoming.settlements, emit })
  /** In the order in which they go on in a new session; the other way round they are told of its end. */
  const parts: Part[] = [calls, outgoing, incoming, subscriptions, streams, requests, receipts]
  if (typeof settings.token === 'function') parts.push(createTokenRefresh(settings.token, calls.once))
  const partsUp = parts.toReversed()
  const frames: Frames = {
    ok: answered,
    error: answered,
    message: incoming.receive,
    receipt: receipts.receive,
    revoked: incoming.revoked,
    event: subscriptions.push,
    snapshot: subscriptions.push,
    ...streams.frames,
    goaway({ reconnectAfterMs }) {
      lifecycle.goAway(reconnectAfterMs)
      emit({ type: 'goaway', reconnectAfterMs })
    },
    ping: incoming.heard,
  }

  const welcomed = createPending({ signal }, '', (error) => {
    if (error !== undefined) void lifecycle.end(error)
  })
  const closed = createPending<Error | null>()

  function hello(): Readonly<Record<string, unknown>> {
    const { namespace, window } = settings
    const common = { protocol: PROTOCOL_VERSION, namespace }
    if (!settings.agent) return common
    const { status: _status, statusReason: _reason, metrics: _metrics, ...fields } = updated
    return {
      ...common,
      producer: outgoing.greet(),
      session: welcome?.session ?? settings.session,
      window,
      agent: { ...settings.agent, ...fields, id: agent?.id ?? settings.agent.id },
    }
  }

  function opened(latest: Welcome): void {
    // What comes in one go with the first welcome must not be dropped before `connect` has resolved.
    if (!welcome) platform.defer(incoming.keepEarly())
    welcome = latest
    agent = latest.agent
    for (const part of parts) part.resume?.(latest)
    const { status, statusReason } = updated
    if (status === 'degraded' && agent?.status !== status) void ask({ type: 'update', status, statusReason })
    if (closing) lifecycle.drain()
    welcomed.resolve()
  }

  function answered(reply: Ok | ErrorReply): void {
    if (typeof reply.ref === 'number') outgoing.answered(reply)
    else if (reply.ref != null) calls.answered(reply)
    else if (reply.type === 'error') emit({ type: 'complaint', error: MeshError.fromBody(reply.error) })
  }

  function changed(state: ConnectionState): void {
    emit(state)
    if (state.type !== 'closed') return
    const error = state.error ?? closedError('left unanswered')
    for (const part of partsUp) part.fail?.(error, state.error)
    void settings.outbox?.close()
    welcomed.fail(error)
    closed.resolve(state.error)
  }

  /** Does `task`, unless the client has ended. A rejection that nobody looks at ends no process. */
  function whileOpen<Result>(what: string, task: () => Promise<Result>): Promise<Result> {
    return handled(lifecycle.state.type === 'closed' ? Promise.reject(closedError(what)) : task())
  }

  function ask<Result>(
    command: Command,
    { timeoutMs = settings.requestTimeoutMs, signal }: WaitOptions = {},
  ): Promise<Result> {
    return whileOpen(command.type, () => calls.ask(command, { timeoutMs, signal }))
  }

  /** Sends what the schema of `type` lets pass; of a reply `type` is that of what it answers. */
  function send(
    to: Target | string,
    payload: unknown,
    how: SealOptions,
    part: Checked = 'payload',
    type: string = how.type ?? 'notification',
  ): Promise<SendResult> {
    return whileOpen('send', async () => {
      if (welcome?.agent == null)
        throw new MeshError('forbidden', 'an observer can not send; connect with a name')
      const { tail, bytes } = seal(toTarget(to), payload, how, welcome.limits.maxPayloadBytes)
      const checked = validation.check(part, type, payload)
      return validation.inOrder(checked, () =>
        whileOpen('send', () => outgoing.add(tail, bytes, toTarget(to), how)),
      )
    })
  }

  /** A send of the application's. */
  function sendOwn(to: Target | string, payload: unknown, how: SealOptions = {}): Promise<SendResult> {
    const sent = send(to, payload, how)
    const { type: messageType = 'notification' } = how
    sent.catch((error: Error) => emit({ type: 'send_failed', to: toTarget(to), messageType, error }))
    return sent
  }

  /** Sends a query whose answer is waited for; the handler's run that asks, if one does, counts as waiting until it is over. */
  function query<Answer extends Asked>(
    expect: (correlationId: string, options: StreamReaderOptions & { readonly timeoutMs: number }) => Answer,
    to: Target | string,
    payload: unknown,
    { timeoutMs = settings.requestTimeoutMs, signal, window, ...rest }: StreamRequestOptions = {},
    run: HandlerRun | undefined = platform.scope.getStore(),
  ): Answer {
    const correlationId = randomId()
    const answer = expect(correlationId, { timeoutMs, signal, window })
    run?.wait(answer.over)
    const how = { ...ASKED, ttlMs: timeoutMs, ...rest, correlationId, signal: answer.withdrawn }
    send(to, payload, how).catch(answer.unasked)
    return answer
  }

  function asked(
    to: Target | string,
    payload: unknown,
    how?: RequestOptions,
    run?: HandlerRun,
  ): Promise<Message> {
    return validation.reply(how?.type ?? 'query', query(requests.expect, to, payload, how, run).over)
  }

  function discover(
    where: Where = {},
    { limit, cursor, ...wait }: DiscoverOptions = {},
  ): Promise<DiscoverResult> {
    return ask({ type: 'discover', where, limit, cursor }, wait)
  }

  /** Ends in order; see `Client.close`. */
  async function close(keep: boolean): Promise<void> {
    const { closeTimeoutMs: timeoutMs } = settings
    const late = createPending({ timeoutMs })
    const within = (work: Promise<unknown>): Promise<unknown> =>
      Promise.race([work, late.promise, closed.promise]).catch(() => undefined)
    incoming.stop()
    lifecycle.drain()
    await within(incoming.idle())
    await within(Promise.resolve(validation.idle))
    await within(outgoing.idle())
    const bye = { type: 'bye', keep }
    // Without a connection the agent is as good as offline; unregistering needs one.
    if (!keep) await within(ask(bye, { timeoutMs }))
    else if (lifecycle.state.type === 'draining') {
      await within(new Promise<unknown>((resolve) => calls.once(bye, resolve, resolve)))
    }
    late.resolve()
    await lifecycle.end(null)
    await settings.outbox?.close()
  }

  function handle(subject: string | null, handler: Handler, how?: HandlerOptions): () => void {
    return incoming.handle(subject, validation.handler(handler), how)
  }

  const client: Client = {
    deadLetters: createDeadLetters(ask),
    get id() {
      return agent?.id ?? null
    },
    get agent() {
      return agent
    },
    get session() {
      return welcome?.session ?? null
    },
    get state() {
      return lifecycle.state
    },
    closed: closed.promise,
    send: ((to: Target | string, payload: unknown, how?: SendOptions): Promise<SendResult> => {
      const sent = sendOwn(to, payload, how)
      return how?.receipt ? receipts.track(sent) : sent
    }) as Client['send'],
    broadcast(payload, { to = EVERYBODY, ...rest } = {}) {
      return sendOwn('capability' in to ? { ...to, mode: 'all' } : to, payload, rest)
    },
    request: (to, payload, how) => asked(to, payload, how) as Promise<never>,
    requestStream: (to, payload, how) =>
      validation.reader(how?.type ?? 'query', query(streams.expect, to, payload, how)) as never,
    openStream: (agentId, { correlationId } = {}) =>
      whileOpen('openStream', () => streams.open(agentId, correlationId)),
    onStream: (handler) => streams.handle(handler as StreamHandler),
    onMessage(subject: string | Handler<never>, ...rest: unknown[]) {
      const named = typeof subject === 'string' ? [subject, ...rest] : [null, subject, ...rest]
      return handle(...(named as [string | null, Handler, HandlerOptions?]))
    },
    onWork: (capability, handler, how) => handle(workOf(capability), handler as Handler, how),
    discover,
    discoverAll: (where, how) =>
      allPages(
        (cursor) => discover(where, { ...how, cursor }),
        ({ agents }) => agents,
      ),
    watch(where = null, how = {}) {
      const watch = subscriptions.open(where, how)
      const error = closedError('watch')
      if (lifecycle.state.type === 'closed') subscriptions.fail(error, error)
      return watch
    },
    update: (fields, wait) =>
      handled(
        ask<UpdateResult>({ type: 'update', ...fields }, wait).then((result) => {
          updated = { ...updated, ...fields }
          agent = result.agent
          if (fields.concurrency !== undefined) incoming.concurrency = fields.concurrency
          return agent
        }),
      ),
    leader: (wait) => handled(ask<LeaderResult>({ type: 'leader' }, wait).then(({ leader }) => leader)),
    status: () => follow(lifecycle.state),
    close: ({ unregister = false } = {}) => (closing ??= close(!unregister)),
    [Symbol.asyncDispose]: () => client.close(),
  }

  lifecycle.start()
  await welcomed.promise
  return client
}
