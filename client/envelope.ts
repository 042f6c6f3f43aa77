import { nestsWithin } from '../protocol/codec.ts'
import { MeshError } from '../protocol/errors.ts'
import * as LIMITS from '../protocol/limit-values.ts'
import { MESSAGE_TYPE_PATTERN } from '../protocol/message.ts'
import { badFrame, checkInteger } from './errors.ts'
import type { Durability, MessageType, Target } from '../protocol/message.ts'

/** How a message is sent. */
export interface SendOptions {
  /** 1 to 64 of `[a-z0-9_.-]`. Default `notification`. */
  readonly type?: MessageType
  /** What a `response` refers to; at most 256 characters. */
  readonly correlationId?: string
  /** Milliseconds that it may wait for its receiver, 1 to a year; by default without end. */
  readonly ttlMs?: number
  /** `transient`: pushed to whoever is connected now, stored nowhere. Default `stored`. */
  readonly durability?: Durability
  /**
   * Whether the mesh tells what becomes of the message; then the result has `settled` and `receipts`. Not with `transient`, and
   * not for messages to many. Default false.
   */
  readonly receipt?: boolean
  /** Work whose capability no registered agent has: `keep` it until one comes, or `fail` with `no_capable_agent`. Default `keep`. */
  readonly ifNone?: 'keep' | 'fail'
  /** A term: refused with `stale_term` unless this agent is the leader of that term. */
  readonly asLeader?: number
  /** W3C trace context, passed on as it is. */
  readonly traceparent?: string
  /** Takes the message back while it is not written yet; later it only stops waiting for the answer. */
  readonly signal?: AbortSignal
}

/** Everybody, or all members of a group or with a capability. */
export type Audience = { readonly all: true } | { readonly group: string } | { readonly capability: string }

export interface BroadcastOptions extends Omit<SendOptions, 'receipt' | 'ifNone'> {
  /** Default `{ all: true }`. */
  readonly to?: Audience
  /** Whether this agent gets it too, if it matches. Default false. */
  readonly echo?: boolean
}

/** Of `send` and `broadcast`. */
export interface SealOptions extends SendOptions {
  readonly echo?: boolean
  /** What comes of it is of no use to a later client: an outbox does not keep it. */
  readonly fleeting?: true
}

/** A send, ready to be written. */
export interface Envelope {
  /** The frame's text from `,"to":` to its end. */
  readonly tail: string
  /** Of the payload's JSON text; where it is far below the limit, its characters. */
  readonly bytes: number
}

function checkOptions({ type, correlationId, traceparent, ttlMs }: SendOptions): void {
  if (type !== undefined && !MESSAGE_TYPE_PATTERN.test(type)) {
    throw badFrame(`message type ${JSON.stringify(type)} must be 1 to 64 of a-z 0-9 _ . -`, type)
  }
  checkInteger('ttlMs', ttlMs, LIMITS.durationMaxMs)
  for (const [name, value = ''] of Object.entries({ correlationId, traceparent })) {
    if (value.length > LIMITS.stringChars) {
      throw badFrame(
        `${name} has ${value.length} characters; at most ${LIMITS.stringChars} are allowed`,
        value,
      )
    }
  }
}

function sizeOf(text: string, maxBytes: number): number {
  if (text.length * 3 <= maxBytes) return text.length
  return new TextEncoder().encode(text).length
}

/** A payload as JSON, and its bytes (where they are far below the limit, its characters). @throws as `seal` */
export function payloadText(payload: unknown, maxPayloadBytes: number): { text: string; bytes: number } {
  const text = JSON.stringify(payload) ?? 'null'
  const bytes = sizeOf(text, maxPayloadBytes)
  if (bytes > maxPayloadBytes) {
    throw new MeshError(
      'payload_too_large',
      `the payload has ${bytes} bytes of JSON; this hub takes ${maxPayloadBytes} (limits.maxPayloadBytes)`,
    )
  }
  // Two characters a level: a shorter text can't nest too deep.
  if (text.length > 2 * LIMITS.payloadMaxDepth && !nestsWithin(payload, LIMITS.payloadMaxDepth)) {
    throw badFrame(`the payload nests deeper than ${LIMITS.payloadMaxDepth} levels`)
  }
  return { text, bytes }
}

/**
 * Writes a send down: later changes of `payload` change nothing, and what the hub would refuse as `bad_frame` is refused here.
 * @throws MeshError `bad_frame` or `payload_too_large`; what JSON.stringify throws for a payload that has no JSON text
 */
export function seal(to: Target, payload: unknown, options: SealOptions, maxPayloadBytes: number): Envelope {
  checkOptions(options)
  const toMany = 'all' in to || 'group' in to || ('mode' in to && to.mode === 'all')
  if (options.receipt && (toMany || options.durability === 'transient')) {
    throw badFrame('a receipt is for a stored message to one agent or one work queue', to)
  }
  const { text, bytes } = payloadText(payload, maxPayloadBytes)
  const { type, correlationId, ttlMs, durability, receipt, echo, ifNone, asLeader, traceparent } = options
  const head = JSON.stringify({ to, messageType: type ?? 'notification' }).slice(1, -1)
  const fields = { correlationId, ttlMs, durability, receipt, echo, ifNone, asLeader, traceparent }
  const rest = JSON.stringify(fields).slice(1)
  return { tail: `,${head},"payload":${text}${rest === '}' ? '' : ','}${rest}`, bytes }
}
