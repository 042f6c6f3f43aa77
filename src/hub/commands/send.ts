import { show } from '../../../protocol/agent.ts'
import { nestsWithin } from '../../../protocol/codec.ts'
import type { Ref, Send as SendFrame } from '../../../protocol/commands.ts'
import { ERRORS, type ErrorCode, MeshError } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Destination, Send, SendOutcome } from '../../core/sends.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../dispatch.ts'
import type { Commit } from '../group-commit.ts'
import { connectedRecipients, route, type Route } from '../router.ts'
import { openBefore, type Session } from '../session.ts'

/** `send`: stored by the next group commit, then answered. @throws MeshError */
export function send({ connection, namespace, session }: Context, frame: SendFrame): void {
  if (!session) throw new MeshError('forbidden', 'an observer connection cannot send; say hello with an agent')
  if (connection.hub.draining) throw drained(session, frame.seq ?? null)
  const way = route(frame, namespace.replica)
  checkReceipt(frame, way)
  const seq = frame.seq ?? null
  const payload = payloadText(frame.payload, connection.hub.maxPayloadBytes)
  session.begin(seq)
  const id = session.messageId(seq)
  const now = Date.now()
  const expiresAt = frame.ttlMs == null ? null : now + frame.ttlMs
  const text = messageText(id, session.from, way, frame, payload, now, expiresAt)
  let to = way.to
  let recipients: readonly string[] = []
  const transient = frame.durability === 'transient'
  if (transient) {
    recipients = connectedRecipients(way, namespace.replica, session.agentId)
    to = transientDestination(way, recipients, session)
  }
  const push = transient ? () => pushTransient(session, recipients, text) : null
  namespace.commit.add(
    new Committing(connection, session, frame, id, push, {
      sender: session.sender,
      seq,
      to,
      asLeader: frame.asLeader ?? null,
      text: transient ? '' : text,
      expiresAt: transient ? null : expiresAt,
    }),
  )
}

/** A send that is refused before it could be stored; with a `seq` the store is told that this one has ended. */
export function refuseSend(connection: Connection, frame: Record<string, unknown>, ref: Ref | undefined, error: MeshError): boolean {
  const { session, namespace } = connection
  const { seq } = frame
  if (!session || !namespace || ref === undefined || session.sender.producer === null) return false
  if (!Number.isSafeInteger(seq) || (seq as number) < 1 || error.retryable) return false
  try {
    session.begin(seq as number)
  } catch (cause) {
    if (!(cause instanceof MeshError)) throw cause
    connection.fail(ref, cause)
    return true
  }
  const to: Destination = { kind: 'refused', code: error.code }
  const commit = new Committing(connection, session, { ref, seq: seq as number }, session.messageId(seq as number), null, {
    sender: session.sender,
    seq: seq as number,
    to,
    asLeader: null,
    text: '',
    expiresAt: null,
  })
  commit.refusal = error
  namespace.commit.add(commit)
  return true
}

function drained(session: Session, seq: number | null): MeshError {
  if (seq !== null) session.leaveOpen(seq)
  return new MeshError('draining', 'this hub is shutting down; connect to another one and send this again', { retryAfterMs: 0 })
}

function checkReceipt({ receipt, durability }: SendFrame, { to }: Route): void {
  if (!receipt) return
  if (to.kind === 'members') throw new MeshError('bad_frame', 'receipt does not go with a broadcast; ask for replies instead')
  if (durability === 'transient') throw new MeshError('bad_frame', 'receipt does not go with durability "transient"')
  throw new MeshError('bad_frame', 'receipt is not served by this hub; leave it out')
}

function payloadText(payload: unknown, maxBytes: number): string {
  if (!nestsWithin(payload, LIMITS.payloadMaxDepth)) {
    throw new MeshError('bad_frame', `payload nests deeper than ${LIMITS.payloadMaxDepth} levels; flatten it`)
  }
  const text = JSON.stringify(payload) ?? 'null'
  // A UTF-16 unit is at most three bytes, so short texts need not be measured.
  if (text.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(text)
    if (bytes > maxBytes) {
      throw new MeshError('payload_too_large', `payload has ${bytes} bytes of JSON; at most ${maxBytes} are allowed`, { details: bytes })
    }
  }
  return text
}

/** @param from the sender's id as JSON */
function messageText(id: string, from: string, way: Route, frame: SendFrame, payload: string, now: number, expiresAt: number | null): string {
  let text = `{"type":"message","id":"${id}","from":${from},"via":"${way.via}",`
  if (way.value !== null) text += `"${way.via}":${JSON.stringify(way.value)},`
  text += `"messageType":"${frame.messageType}","payload":${payload}`
  if (frame.correlationId != null) text += `,"correlationId":${JSON.stringify(frame.correlationId)}`
  text += `,"createdAt":"${isoTime(now)}"`
  if (expiresAt !== null) text += `,"expiresAt":"${isoTime(expiresAt)}"`
  if (frame.traceparent != null) text += `,"traceparent":${JSON.stringify(frame.traceparent)}`
  if (frame.durability === 'transient') text += ',"transient":true'
  return `${text},"attempt":1}`
}

let lastIso = ''
let lastIsoMs = 0
/** Messages of one millisecond share their text. */
function isoTime(ms: number): string {
  if (ms !== lastIsoMs) {
    lastIsoMs = ms
    lastIso = new Date(ms).toISOString()
  }
  return lastIso
}

/** Counted where somebody is there; a target that does not exist is refused like a stored one. */
function transientDestination(way: Route, recipients: readonly string[], session: Session): Destination {
  const { replica } = session.namespace
  if (way.to.kind === 'leader' && replica.leader.agentId === null) return { kind: 'refused', code: 'no_leader' }
  if (way.to.kind === 'agent' && !replica.get(way.to.agentId)) return { kind: 'refused', code: 'unknown_target' }
  return { kind: 'transient', recipients: recipients.length }
}

function pushTransient(session: Session, recipients: readonly string[], text: string): void {
  const { namespace } = session
  const here: string[] = []
  const elsewhere = new Map<string, string[]>()
  for (const id of recipients) {
    const hub = namespace.replica.get(id)?.record.state.hub
    if (namespace.session(id)) here.push(id)
    else if (hub != null && hub !== namespace.hub) elsewhere.set(hub, [...(elsewhere.get(hub) ?? []), id])
  }
  namespace.pushTransient(here, text)
  for (const [hub, agentIds] of elsewhere) namespace.core.bus.publish(namespace.name, hub, { kind: 'transient', agentIds, text })
}

/** A send that waits for the store's answer. */
class Committing implements Commit {
  readonly #connection: Connection
  readonly #session: Session
  readonly #frame: Pick<SendFrame, 'ref' | 'seq'> & Partial<SendFrame>
  readonly #id: string
  readonly #push: (() => void) | null
  send: Send
  /** The error that ended it before it came to the store. */
  refusal: MeshError | null = null
  #agentId: string

  constructor(
    connection: Connection,
    session: Session,
    frame: Pick<SendFrame, 'ref' | 'seq'> & Partial<SendFrame>,
    id: string,
    push: (() => void) | null,
    send: Send,
  ) {
    this.#connection = connection
    this.#session = session
    this.#frame = frame
    this.#id = id
    this.#push = push
    this.send = send
    this.#agentId = send.to.kind === 'agent' || send.to.kind === 'leader' ? send.to.agentId : ''
  }

  retarget(agentId: string): void {
    this.#agentId = agentId
    const { to } = this.send
    if (to.kind === 'agent' || to.kind === 'leader') this.send = { ...this.send, to: { ...to, agentId } }
  }

  onOutcome(outcome: SendOutcome): void {
    this.#session.end()
    switch (outcome.outcome) {
      case 'stored': {
        const { to, text, expiresAt } = this.send
        const lane = to.kind === 'agent' || to.kind === 'leader' ? to.lane : 'inbox'
        this.#session.namespace.session(this.#agentId)?.delivery.offer(lane, outcome.number, text, expiresAt)
        this.#ok(1, false)
        break
      }
      case 'broadcast':
        this.#ok(outcome.recipients, false)
        break
      case 'counted':
        this.#push?.()
        this.#ok(this.send.to.kind === 'transient' ? this.send.to.recipients : 0, false)
        break
      case 'duplicate':
        this.#ok(outcome.recipients, true)
        break
      case 'refused':
        this.#fail(this.refusal ?? this.#explain(outcome.code))
        break
      case 'gap':
        if (this.#session.wasLost(outcome.expected)) {
          // It was under way behind a call that failed.
          if (this.#frame.seq != null) this.#session.leaveOpen(this.#frame.seq)
          this.#fail(openBefore(outcome.expected))
          break
        }
        this.#fail(new MeshError('bad_frame', `seq is ${this.#frame.seq}, expected ${outcome.expected}: number sends from 1 without gaps`))
        break
      case 'too_old':
        this.#fail(
          new MeshError('seq_too_old', `seq ${this.#frame.seq} is more than ${LIMITS.producerWindow} behind: its answer is not known any more`),
        )
        break
      case 'fenced':
      case 'moved':
      case 'postponed':
        // Another session has the agent: its hub says so to the socket too.
        this.#fail(new MeshError('agent_taken', 'another session has this agent; nothing was stored'))
        break
    }
  }

  onFailure(error: unknown): void {
    const { seq } = this.#frame
    if (seq != null) this.#session.leaveOpen(seq)
    this.#session.end()
    if (error instanceof MeshError) {
      this.#fail(error)
      return
    }
    this.#connection.log.error({ err: error }, 'send failed')
    this.#fail(new MeshError('store_unavailable', 'the store failed at this send; send it again', { cause: error, retryAfterMs: 500 }))
  }

  #ok(recipients: number, duplicate: boolean): void {
    this.#connection.push(
      `{"type":"ok","ref":${JSON.stringify(this.#frame.ref)},"result":{"id":"${this.#id}","recipients":${recipients}${duplicate ? ',"duplicate":true' : ''}}}`,
    )
  }

  #fail(error: MeshError): void {
    this.#connection.fail(this.#frame.ref, error)
  }

  #explain(code: ErrorCode): MeshError {
    const { to } = this.#frame
    const { namespace } = this.#session
    const target = show(to?.agent ?? to?.name ?? '')
    switch (code) {
      case 'unknown_target':
        return new MeshError(code, `no agent ${to?.name == null ? '' : 'named '}${target} in namespace ${show(namespace.name)}`)
      case 'inbox_full':
        return new MeshError(code, `the inbox of ${show(this.#agentId)} holds ${namespace.settings.inboxMax} messages; send again later`, {
          retryAfterMs: 1_000,
        })
      case 'no_leader':
        return new MeshError(code, `namespace ${show(namespace.name)} has no leader now; send again when one is elected`)
      case 'stale_term':
        return new MeshError(code, `this agent does not lead with term ${this.send.asLeader}; ask for the leader and its term`)
      default:
        return new MeshError(code, `${ERRORS[code].sentence} This seq has ended with this error before.`)
    }
  }
}
