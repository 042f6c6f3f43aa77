import { LIMITS } from '../../../protocol/limits.ts'
import type { Message, Receipt, Revoked } from '../../../protocol/pushes.ts'
import type { Frame } from '../../hub/dialect.ts'
import { xxh3 } from '../checksum.ts'
import { MXP_FLAGS, type MxpMessage } from '../message.ts'
import { BadPayload, type JsonObject, parsePayload } from '../payload.ts'
import type { RegistryCode } from '../registry-error.ts'
import { type MxpIds, parseCorrelationId } from './call-ids.ts'
import { type Call, Calls } from './calls.ts'
import { Held } from './held.ts'
import { toWire } from './out.ts'
import { traceIdOf } from './trace.ts'

/** Messages whose sender waits for a response; they are Calls, all others Events. */
const CALLED: ReadonlySet<string> = new Set(['query', 'task_delegation'])

/** Calls of an agent's own of whose end it is told by an Error; of older ones that are given up then, by an Event. */
const ASKED_MAX = 4_096

/** The MXP id of a message of the mesh: the same each time it is pushed, on whatever hub. */
const idOf = (id: string): bigint => xxh3(new TextEncoder().encode(id))

/** What the mesh has for an MXP agent: pushed with REQUIRES_ACK, and settled by message id. */
export class Deliveries {
  readonly #held = new Held()
  readonly #calls = new Calls()
  /** Calls of the agent's own whose end is looked out for: their ids in the mesh → their own. */
  readonly #asked = new Map<string, MxpIds>()

  /** The Call that was pushed under a message id. */
  callOf(messageId: bigint): Call | undefined {
    return this.#calls.get(messageId)
  }

  /** A response to a Call of this agent has the Call's ids, on whichever connection it was made. */
  message(frame: Message): Buffer {
    const { type: _type, ...envelope } = frame
    const { id, from, messageType, correlationId = id, traceparent } = frame
    const called = messageType === 'response' ? parseCorrelationId(correlationId) : null
    const ids = called ?? { messageId: idOf(id), traceId: traceIdOf(traceparent) }
    const flags = frame.transient ? 0 : MXP_FLAGS.REQUIRES_ACK
    if (!frame.transient) this.#held.add(ids.messageId, id)
    if (called) return toWire('Response', ids, envelope, flags)
    if (!CALLED.has(messageType)) return toWire('Event', ids, envelope, flags)
    this.#calls.add(ids.messageId, { from, correlationId, traceparent })
    return toWire('Call', ids, envelope, flags)
  }

  /** A Call of this agent was stored, with a receipt that the agent did not ask for: should nobody answer it, that is told. */
  lookOut(id: string, ids: MxpIds): void {
    this.#asked.set(id, ids)
    if (this.#asked.size <= ASKED_MAX) return
    const [oldest] = this.#asked.keys()
    if (oldest !== undefined) this.#asked.delete(oldest)
  }

  /** What became of a message of this agent's. `acks`: what the hub is to be told at once, since nobody else will. */
  receipt(frame: Receipt): { readonly wires: readonly Buffer[]; readonly acks: readonly string[] } {
    const { id, receiptId, agentId, status, reason } = frame
    const ids = this.#asked.get(id)
    if (!ids) {
      const messageId = idOf(receiptId)
      this.#held.add(messageId, receiptId)
      return {
        wires: [toWire('Event', { messageId, traceId: 0n }, frame, MXP_FLAGS.REQUIRES_ACK)],
        acks: [],
      }
    }
    if (status !== 'in_progress') this.#asked.delete(id)
    if (status === 'in_progress' || status === 'acked') return { wires: [], acks: [receiptId] }
    const error = `the Call was given up: ${reason ?? 'it expired'}`
    const body = { error, code: 'CALL_FAILED' satisfies RegistryCode, status, reason, agentId }
    return { wires: [toWire('Error', ids, body)], acks: [receiptId] }
  }

  revoked({ ids, reason }: Revoked): Buffer[] {
    return ids.map((id) => {
      const messageId = idOf(id)
      this.#held.take(messageId)
      return toWire('Error', { messageId, traceId: 0n }, { error: `taken away: ${reason}`, code: 'REVOKED' })
    })
  }

  /** It was processed. */
  settle(messageId: bigint): Frame[] {
    const ids = this.#held.take(messageId)
    return ids.length > 0 ? [{ type: 'ack', ids: [...ids] }] : []
  }

  /** An Error that answers something pushed: it was not processed. @throws BadPayload */
  reject(message: MxpMessage): Frame[] {
    const { error, requeue, delayMs } = parsePayload(message.payload)
    const isDelay = Number.isSafeInteger(delayMs) && (delayMs as number) >= 0
    return this.#held.take(message.messageId).map((id) => ({
      type: 'nack',
      id,
      requeue: requeue !== false,
      delayMs: isDelay ? Math.min(delayMs as number, LIMITS.durationMaxMs) : 0,
      reason: typeof error === 'string' ? error.slice(0, LIMITS.stringChars) : null,
    }))
  }

  /** Message ids, in decimal, of what the agent works on. @throws BadPayload */
  progress({ progress }: JsonObject): Frame[] {
    if (progress == null) return []
    if (
      !Array.isArray(progress) ||
      !progress.every((one) => typeof one === 'string' && /^\d{1,20}$/.test(one))
    )
      throw new BadPayload('progress must be an array of message ids in decimal, as strings')
    const ids = progress.flatMap((one: string) => [...this.#held.get(BigInt(one))]).slice(0, LIMITS.idsMax)
    return ids.length > 0 ? [{ type: 'progress', ids }] : []
  }
}
