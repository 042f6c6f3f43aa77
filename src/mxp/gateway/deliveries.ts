import { LIMITS } from '../../../protocol/limits.ts'
import type { Message, Receipt, Revoked } from '../../../protocol/pushes.ts'
import type { Frame } from '../../hub/dialect.ts'
import { xxh3 } from '../checksum.ts'
import { MXP_FLAGS, type MxpMessage } from '../message.ts'
import { BadPayload, type JsonObject, parsePayload, readable } from '../payload.ts'
import { errorIn, errorResponse, toRejection, wantsAgain } from './call-error.ts'
import { parseCorrelationId } from './call-ids.ts'
import { type Call, Calls } from './calls.ts'
import { Held } from './held.ts'
import { toWire } from './out.ts'
import type { OwnCalls } from './own-calls.ts'
import { traceIdOf } from './trace.ts'

/** Messages whose sender waits for a response; they are Calls, all others Events. */
const CALLED: ReadonlySet<string> = new Set(['query', 'task_delegation'])

/** The MXP id of a message of the mesh: the same each time it is pushed, on whatever hub. */
const idOf = (id: string): bigint => xxh3(new TextEncoder().encode(id))

/** What is told to the agent, and what the hub at once, since nobody else will: ids that are acknowledged. */
interface Told {
  readonly wires: readonly Buffer[]
  readonly acks: readonly string[]
}

const tell = (wire: Buffer): Told => ({ wires: [wire], acks: [] })

/** What an Error of the agent's comes to. */
interface Refusal {
  readonly nacks: readonly Frame[]
  /** Whom a Call that it ends is answered, and how; null: it ends none. */
  readonly response: { readonly call: Call; readonly body: JsonObject } | null
}

/** What the mesh has for an MXP agent: pushed with REQUIRES_ACK, and settled by message id. */
export class Deliveries {
  readonly #held = new Held()
  readonly #calls = new Calls()
  readonly #ownCalls: OwnCalls

  constructor(ownCalls: OwnCalls) {
    this.#ownCalls = ownCalls
  }

  /** The Call that was pushed under a message id. */
  callOf(messageId: bigint): Call | undefined {
    return this.#calls.get(messageId)
  }

  /** A response to a Call of this agent has the Call's ids, on whichever connection it was made. One that is an Error need not be settled. */
  message(frame: Message): Told {
    const { type: _type, ...whole } = frame
    const { id, from, messageType, correlationId = id, traceparent } = frame
    const envelope = { ...whole, payload: readable(frame.payload) }
    const called = messageType === 'response' ? parseCorrelationId(correlationId) : null
    const ids = called ?? { messageId: idOf(id), traceId: traceIdOf(traceparent) }
    if (called) this.#ownCalls.over(called)
    const error = called && errorIn(frame.payload)
    if (error) return { wires: [toWire('Error', ids, { ...envelope, ...error })], acks: [id] }
    const flags = frame.transient ? 0 : MXP_FLAGS.REQUIRES_ACK
    if (!frame.transient) this.#held.add(ids.messageId, id)
    if (called) return tell(toWire('Response', ids, envelope, flags))
    if (!CALLED.has(messageType)) return tell(toWire('Event', ids, envelope, flags))
    this.#calls.add(ids.messageId, { from, correlationId, traceparent })
    return tell(toWire('Call', ids, envelope, flags))
  }

  /** What became of a message of this agent's. */
  receipt(frame: Receipt): Told {
    const { receiptId } = frame
    const wires = this.#ownCalls.failed(frame)
    if (wires) return { wires, acks: [receiptId] }
    const messageId = idOf(receiptId)
    this.#held.add(messageId, receiptId)
    return tell(toWire('Event', { messageId, traceId: 0n }, frame, MXP_FLAGS.REQUIRES_ACK))
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
  reject(message: MxpMessage): Refusal {
    const { messageId, payload } = message
    const body = payload.length > 0 ? parsePayload(payload) : {}
    const rejection = toRejection(body)
    const call = this.#calls.get(messageId)
    const isFinal = rejection.requeue === false || (call !== undefined && !wantsAgain(rejection))
    const nacks = this.#held.take(messageId).map((id) => ({
      type: 'nack',
      id,
      requeue: !isFinal,
      delayMs: rejection.delayMs ?? 0,
      reason: rejection.reason,
    }))
    return {
      nacks,
      response: call && isFinal && nacks.length > 0 ? { call, body: errorResponse(body) } : null,
    }
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
