import type { Ref, Send as SendFrame } from '../../../protocol/commands.ts'
import { errorBody } from '../../../protocol/error-table.ts'
import { MeshError } from '../../../protocol/errors.ts'
import type { Destination } from '../../core/sends.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../dispatch.ts'
import { messageText, payloadText } from '../message-text.ts'
import { PendingSend } from '../pending-send.ts'
import { connectedRecipients, route, type Route } from '../router.ts'
import type { Session } from '../session.ts'

/** `send`: stored by the next group commit, then answered. @throws MeshError */
export function send({ connection, namespace, session }: Context, frame: SendFrame): void {
  if (!session)
    throw new MeshError('forbidden', 'an observer connection cannot send; say hello with an agent')
  if (connection.isLeaving) throw drained(session, frame.seq ?? null)
  const way = route(frame, namespace.replica)
  checkReceipt(frame, way)
  const seq = frame.seq ?? null
  const payload = payloadText(frame.payload, connection.hub.maxPayloadBytes)
  session.begin(seq)
  const id = session.messageId(seq)
  const now = Date.now()
  const expiresAt = frame.ttlMs == null ? null : now + frame.ttlMs
  const given = frame.traceparent ?? null
  const span =
    connection.hub.tracing?.send(given, {
      id,
      namespace: namespace.name,
      from: session.agentId,
      via: way.via,
    }) ?? null
  const text = messageText(id, session.from, way, frame, payload, now, expiresAt, span?.traceparent ?? given)
  let to = way.to
  let recipients: readonly string[] = []
  const transient = frame.durability === 'transient'
  if (transient) {
    recipients = connectedRecipients(way, namespace.replica, session.agentId)
    to = transientDestination(way, recipients, session)
  }
  namespace.commit.add(
    new PendingSend({
      session,
      ref: frame.ref,
      id,
      seq,
      target: frame.to,
      to,
      asLeader: frame.asLeader ?? null,
      text: transient ? '' : text,
      expiresAt: transient ? null : expiresAt,
      receipt: frame.receipt ?? false,
      push: transient ? () => pushTransient(session, recipients, text) : null,
      refusal: null,
      span,
    }),
  )
}

/** A send that is refused before it could be stored; with a `seq` the store is told that this one has ended. */
export function refuseSend(
  connection: Connection,
  frame: Record<string, unknown>,
  ref: Ref | undefined,
  error: MeshError,
): boolean {
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
  namespace.commit.add(
    new PendingSend({
      session,
      ref,
      id: session.messageId(seq as number),
      seq: seq as number,
      target: null,
      to: { kind: 'refused', code: errorBody(error).code },
      asLeader: null,
      text: '',
      expiresAt: null,
      receipt: false,
      push: null,
      refusal: error,
      span: null,
    }),
  )
  return true
}

function drained(session: Session, seq: number | null): MeshError {
  if (seq !== null) session.leaveOpen(seq)
  return new MeshError('draining', 'this hub is shutting down; connect to another one and send this again', {
    retryAfterMs: 0,
  })
}

function checkReceipt({ receipt, durability }: SendFrame, { to }: Route): void {
  if (!receipt) return
  if (to.kind === 'members')
    throw new MeshError('bad_frame', 'receipt does not go with a broadcast; ask for replies instead')
  if (durability === 'transient')
    throw new MeshError('bad_frame', 'receipt does not go with durability "transient"')
}

/** Counted where somebody is there; a target that does not exist is refused like a stored one. */
function transientDestination(way: Route, recipients: readonly string[], session: Session): Destination {
  const { replica } = session.namespace
  if (way.to.kind === 'leader' && replica.leader.agentId === null)
    return { kind: 'refused', code: 'no_leader' }
  if (way.to.kind === 'agent' && !replica.get(way.to.agentId))
    return { kind: 'refused', code: 'unknown_target' }
  if (
    way.to.kind === 'queue' &&
    way.to.ifNone === 'fail' &&
    replica.withCapability(way.to.capability).size === 0
  ) {
    return { kind: 'refused', code: 'no_capable_agent' }
  }
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
  for (const [hub, agentIds] of elsewhere)
    namespace.core.bus.publish(namespace.name, hub, { kind: 'transient', agentIds, text })
}
