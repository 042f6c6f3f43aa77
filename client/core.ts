import type { AgentInfo } from '../protocol/agent.ts'
import { MeshError } from '../protocol/errors.ts'
import { PROTOCOL_VERSION } from '../protocol/limits.ts'
import type { Target } from '../protocol/message.ts'
import type { Message } from '../protocol/pushes.ts'
import type {
  DiscoverResult,
  ErrorReply,
  LeaderResult,
  Ok,
  SendResult,
  UpdateResult,
  Welcome,
} from '../protocol/replies.ts'
import { createAcks } from './acks.ts'
import { createCalls } from './calls.ts'
import type { Command, WaitOptions } from './calls.ts'
import type { Client, DiscoverOptions } from './client.ts'
import { createDeadLetters } from './dead-letters.ts'
import { createEarly } from './early.ts'
import type { AnswerOptions } from './early.ts'
import { seal } from './envelope.ts'
import type { Audience, SealOptions, SendOptions } from './envelope.ts'
import { abortError, badFrame, closedError, handled } from './errors.ts'
import type { HandlerRun } from './handler-run.ts'
import { workOf } from './handlers.ts'
import { randomId } from './ids.ts'
import { createLifecycle } from './lifecycle.ts'
import { createLoading } from './loading.ts'
import type { LoadParts } from './loading.ts'
import type { Handler, HandlerOptions } from './message.ts'
import { toSettings } from './options.ts'
import type { ConnectOptions, Settings, UpdateFields } from './options.ts'
import { Outgoing } from './outgoing.ts'
import type { OutgoingPort } from './outgoing.ts'
import { allPages } from './pages.ts'
import { dispatch } from './frames.ts'
import type { Frames } from './frames.ts'
import { createPending } from './pending.ts'
import { createRequests } from './requests.ts'
import type { Asked, RequestOptions } from './requests.ts'
import type { Part as Checked } from './schemas.ts'
import type { Platform } from './socket.ts'
import type { ConnectionState } from './state.ts'
import { createStatuses } from './status.ts'
import type { StreamHandler, StreamRequestOptions } from './stream.ts'
import type { Where } from './where.ts'

/** What goes on over connections. */
interface Member {
  /** A session is open. */
  resume?(welcome: Welcome): void
  /** The connection is gone; `closing`: and there will be no other one. */
  lost?(closing: boolean): void
  /** The client has ended: `error` is for what is open, `reason` is null where it was closed. */
  fail?(error: Error, reason: Error | null): void
}

const EVERYBODY: Audience = { all: true }
/** Nobody waits for the answer of what an earlier client asked. */
const ASKED = { type: 'query', fleeting: true } as const

/** What a target is short for. */
function toTarget(to: Target | string): Target {
  return typeof to === 'string' ? { agent: to } : to
}

/** Connects on a platform, with parts that are loaded at once or when they are needed. */
export async function connectWith(
  platform: Platform,
  options: ConnectOptions,
  load: LoadParts,
): Promise<Client> {
  const { signal } = options
  const settings = toSettings(options)
  const { agent, namespace, outbox } = settings
  if (outbox) await outbox.open(namespace, agent?.id)
  try {
    if (signal?.aborted) throw abortError(signal)
    return await createClient(platform, settings, signal, load)
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
  load: LoadParts,
): Promise<Client> {
  let welcome: Welcome | undefined
  let agent: AgentInfo | null = null
  /** What `update` changed: told again by later `hello`s, but for the status, which those can't tell. */
  let updated: UpdateFields = {}
  let closing: Promise<void> | undefined

  const { emit, follow } = createStatuses(settings.onStatus)
  const lifecycle = createLifecycle(platform, settings, {
    hello,
    accepts: ({ resumed }) => outgoing.accepts(resumed),
    opened,
    frame: (frame) => dispatch(frames, frame) || loading.frame(frame),
    lost: () => membersUp.forEach((member) => member.lost?.(closing !== undefined)),
    changed,
  })
  const { write } = lifecycle
  const calls = createCalls(write, settings.maxOutgoing)
  const port: OutgoingPort = {
    write,
    renew: () => lifecycle.renew(badFrame('the hub numbers the sends differently')),
    emit,
  }
  const limits = { maxSends: settings.maxOutgoing, maxBytes: settings.maxOutgoingBytes }
  const outgoing = settings.outbox?.outgoing(port, limits) ?? new Outgoing(port, limits)
  const acks = createAcks(write)
  const requests = createRequests(() => loading.parts?.incoming.pump())
  const loading = createLoading(
    load,
    (create) => {
      const parts = create({
        platform,
        settings,
        acks,
        write,
        calls,
        requests,
        emit,
        request: (run, to, payload, how) => asked(to, payload, how, run),
        send,
        concurrency: updated.concurrency ?? settings.agent?.concurrency ?? 1,
        maxPayloadBytes: () => welcome?.limits.maxPayloadBytes ?? 0,
      })
      // What comes in one go with the first welcome must not be dropped before `connect` has resolved.
      platform.defer(parts.incoming.keepEarly())
      if (closing) parts.incoming.stop()
      return parts
    },
    settings.window,
  )
  /** In the order in which they go on in a new session; the other way round they are told of its end. */
  const members: readonly Member[] = [calls, outgoing, acks, loading, requests]
  const membersUp = members.toReversed()
  const frames: Frames = {
    ok: answered,
    error: answered,
    message: received,
    goaway({ reconnectAfterMs }) {
      lifecycle.goAway(reconnectAfterMs)
      emit({ type: 'goaway', reconnectAfterMs })
    },
  }

  const welcomed = createPending({ signal }, '', (error) => {
    if (error !== undefined) void lifecycle.end(error)
  })
  const closed = createPending<Error | null>()
  const early = createEarly(loading)

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
    welcome = latest
    agent = latest.agent
    for (const member of members) member.resume?.(latest)
    const { status, statusReason } = updated
    if (status === 'degraded' && agent?.status !== status) void ask({ type: 'update', status, statusReason })
    if (closing) lifecycle.drain()
    // Nothing passes unchecked.
    if (settings.schemas) loading.soon(() => welcomed.resolve())
    else welcomed.resolve()
  }

  function answered(reply: Ok | ErrorReply): void {
    if (typeof reply.ref === 'number') outgoing.answered(reply)
    else if (reply.ref != null) calls.answered(reply)
    else if (reply.type === 'error') emit({ type: 'complaint', error: MeshError.fromBody(reply.error) })
  }

  /** A reply that is waited for does not wait for the parts. */
  function received(message: Message): void {
    const { id, messageType, transient } = message
    if (loading.parts || messageType !== 'response') return loading.frame(message)
    if (!requests.take(message)) loading.frame(message)
    else if (!transient) acks.ack(id)
  }

  function changed(state: ConnectionState): void {
    emit(state)
    if (state.type !== 'closed') return
    const error = state.error ?? closedError('left unanswered')
    for (const member of membersUp) member.fail?.(error, state.error)
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
      const go = (): Promise<SendResult> =>
        whileOpen('send', () => outgoing.add(tail, bytes, toTarget(to), how))
      const validation = loading.parts?.validation
      return validation ? validation.inOrder(validation.check(part, type, payload), go) : go()
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
    expect: (correlationId: string, options: AnswerOptions) => Answer,
    to: Target | string,
    payload: unknown,
    { timeoutMs = settings.requestTimeoutMs, signal, window, ...rest }: StreamRequestOptions = {},
    run: HandlerRun | undefined = platform.scope.getStore(),
  ): Answer {
    const correlationId = randomId()
    const answer = expect(correlationId, { timeoutMs, signal, window })
    run?.wait(answer.over)
    const how = { ...ASKED, ttlMs: timeoutMs, ...rest, correlationId, signal: answer.withdrawn }
    send(to, payload, how).catch((error: Error) => answer.unasked(error))
    return answer
  }

  function asked(
    to: Target | string,
    payload: unknown,
    how?: RequestOptions,
    run?: HandlerRun,
  ): Promise<Message> {
    const { over } = query(requests.expect, to, payload, how, run)
    return loading.parts?.validation.reply(how?.type ?? 'query', over) ?? over
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
    loading.parts?.incoming.stop()
    lifecycle.drain()
    await within(Promise.resolve(loading.parts?.incoming.idle()))
    await within(Promise.resolve(loading.parts?.validation.idle))
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
    return early.handle([subject, handler, how], ({ incoming, validation }) =>
      incoming.handle(subject, validation.handler(handler), how),
    )
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
      return how?.receipt ? handled(loading.later(({ receipts }) => receipts.track(sent))) : sent
    }) as Client['send'],
    broadcast(payload, { to = EVERYBODY, ...rest } = {}) {
      return sendOwn('capability' in to ? { ...to, mode: 'all' } : to, payload, rest)
    },
    request: (to, payload, how) => asked(to, payload, how) as Promise<never>,
    requestStream(to, payload, how) {
      const { parts } = loading
      const reader = query(parts?.streams.expect ?? early.expect, to, payload, how)
      return (parts?.validation.reader(how?.type ?? 'query', reader) ?? reader) as never
    },
    openStream: (agentId, { correlationId } = {}) =>
      whileOpen('openStream', () => loading.later(({ streams }) => streams.open(agentId, correlationId))),
    onStream: (handler) => early.take(handler as StreamHandler),
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
      const subscriptions = loading.parts?.subscriptions
      const watch = subscriptions?.open(where, how) ?? early.watch(where, how)
      const error = closedError('watch')
      if (lifecycle.state.type === 'closed') subscriptions?.fail(error, error)
      return watch
    },
    update: (fields, wait) =>
      handled(
        ask<UpdateResult>({ type: 'update', ...fields }, wait).then((result) => {
          updated = { ...updated, ...fields }
          agent = result.agent
          const { parts } = loading
          if (parts && fields.concurrency !== undefined) parts.incoming.concurrency = fields.concurrency
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
