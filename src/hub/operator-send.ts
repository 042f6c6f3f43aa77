import { randomUUID } from 'node:crypto'
import { show } from '../../protocol/agent.ts'
import type { Send } from '../../protocol/commands.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { type ErrorCode, MeshError } from '../../protocol/errors.ts'
import type { SendResult } from '../../protocol/replies.ts'
import type { SendOutcome } from '../core/sends.ts'
import { within } from '../observability/tracing.ts'
import { DoorSend } from './door-send.ts'
import type { Hub } from './hub.ts'
import { messageText, payloadText } from './message-text.ts'
import type { Namespace } from './namespace.ts'
import { route } from './router.ts'

/** A message as an operator hands it in. */
export interface OperatorMessage extends Pick<
  Send,
  'to' | 'messageType' | 'payload' | 'correlationId' | 'ttlMs' | 'ifNone' | 'echo' | 'traceparent'
> {
  /** Who it is from: an id that nobody is registered with. */
  readonly from: string
}

/**
 * Stores a message of who has no session and cannot be answered.
 * @throws MeshError `agent_taken` where an agent has the id it is to be from, and all that a `send` is refused with
 */
export async function operatorSend(
  { maxPayloadBytes, tracing }: Pick<Hub, 'maxPayloadBytes' | 'tracing'>,
  namespace: Namespace,
  message: OperatorMessage,
): Promise<SendResult> {
  const { from, ttlMs } = message
  const way = route({ ...message, type: 'send', ref: 0 }, namespace.replica)
  const payload = payloadText(message.payload, maxPayloadBytes)
  const id = randomUUID()
  const now = Date.now()
  const expiresAt = ttlMs == null ? null : now + ttlMs
  const given = message.traceparent ?? null
  const span = tracing?.send(given, { id, namespace: namespace.name, from, via: way.via }) ?? null
  const traceparent = span?.traceparent ?? given
  const text = messageText(id, JSON.stringify(from), way, message, payload, now, expiresAt, traceparent)
  const sender = { agentId: from, fence: 0, hub: namespace.hub, producer: null, door: 'operator' as const }
  const send = new DoorSend(namespace.metrics, sender, way.to, text, expiresAt)
  return within(span, async () => {
    namespace.commit.add(send)
    return toResult(namespace, message, send, id, await send.outcome)
  })
}

/** @throws MeshError */
function toResult(
  namespace: Namespace,
  { from, to }: OperatorMessage,
  send: DoorSend,
  id: string,
  outcome: SendOutcome,
): SendResult {
  switch (outcome.outcome) {
    case 'stored':
      send.offerHere(namespace, outcome.number, id)
      return { id, recipients: 1 }
    case 'broadcast':
    case 'queued':
      return { id, recipients: outcome.recipients }
    case 'refused':
      throw refusal(namespace, outcome.code, to)
    case 'fenced':
      throw new MeshError(
        'agent_taken',
        `agent ${show(from)} is registered, and speaks for itself; send from another id`,
        { retryable: false },
      )
    case 'counted':
    case 'duplicate':
    case 'moved':
    case 'postponed':
    case 'gap':
    case 'too_old':
      throw new Error(`an operator's send cannot end as ${outcome.outcome}`)
  }
}

function refusal(namespace: Namespace, code: ErrorCode, to: Send['to']): MeshError {
  const where = `in namespace ${show(namespace.name)}`
  switch (code) {
    case 'unknown_target':
      return new MeshError(
        code,
        to.name == null ? `no agent ${show(to.agent)} ${where}` : `no agent named ${show(to.name)} ${where}`,
      )
    case 'no_capable_agent':
      return new MeshError(code, `no registered agent ${where} has the capability ${show(to.capability)}`)
    case 'inbox_full':
      return new MeshError(
        code,
        to.capability == null
          ? `the inbox of ${show(to)} has no room; send again later`
          : `the queue of ${show(to.capability)} has no room; send again later`,
        { retryAfterMs: 1_000 },
      )
    default:
      return new MeshError(code, `${ERRORS[code].sentence} (${where})`)
  }
}
