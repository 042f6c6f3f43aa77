import { show } from '../../../protocol/agent.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type {
  StreamCancelled,
  StreamChunked,
  StreamCredited,
  StreamEnded,
  StreamError,
  StreamOpened,
} from '../../../protocol/pushes.ts'
import { xxh3 } from '../checksum.ts'
import { MXP_FLAGS, type MxpMessage } from '../message.ts'
import { BadPayload, type JsonObject, nameOf, parsePayload, readable } from '../payload.ts'
import { RegistryError } from '../registry-error.ts'
import { type MxpIds, parseCorrelationId } from './call-ids.ts'
import type { Call } from './calls.ts'
import { toWire } from './out.ts'
import { OutgoingStream } from './outgoing-stream.ts'

/** Bytes of chunks of one connection that wait for receivers' credit. */
const WAITING_MAX = 1_048_576
/** Chunks that the hub may send to an MXP agent before it grants itself more: what holds it up is the socket alone. */
const CREDIT = 1_024

type Frame = Record<string, unknown>

export interface StreamsPort {
  /** Has the hub work on a frame of its own protocol. */
  command(frame: Frame): void
  send(wire: Buffer): void
  /** The Ack of a message that asks for one, if it does. */
  ack(message: MxpMessage): void
  refuse(message: MxpMessage, error: unknown): void
}

interface Incoming {
  readonly ids: MxpIds
  /** Chunks that the hub may still send. */
  credit: number
}

/**
 * Streams of one MXP agent. It names them in the payloads, `stream`, as the hub's protocol does; credit, of which MXP knows nothing, is kept here: that of
 * receivers is waited for, and the agent's own is granted as its socket takes chunks.
 */
export class GatewayStreams {
  readonly #port: StreamsPort
  readonly #outgoing = new Map<string, OutgoingStream>()
  readonly #incoming = new Map<string, Incoming>()

  constructor(port: StreamsPort) {
    this.#port = port
  }

  /** A StreamOpen as a `stream.open`. @param call the Call that the stream answers @throws BadPayload */
  open(message: MxpMessage, call: Call | undefined): Frame & { stream: string } {
    const payload = parsePayload(message.payload)
    const stream = nameOf(payload, 'stream')
    const to = payload.to ?? (call && { agent: call.from })
    if (to === undefined)
      throw new BadPayload('a StreamOpen needs "to": {"agent":…}, unless it answers a Call')
    if (this.#outgoing.has(stream) || this.#incoming.has(stream))
      throw new BadPayload(`this connection has a stream ${show(stream)}; choose another id`)
    const outgoing = new OutgoingStream(
      stream,
      message,
      (frame) => this.#port.command(frame),
      () => this.#outgoing.delete(stream),
    )
    this.#outgoing.set(stream, outgoing)
    const correlationId = payload.correlationId ?? call?.correlationId
    return { type: 'stream.open', stream, to, ...(correlationId == null ? {} : { correlationId }) }
  }

  /** The hub did not open it. */
  refused(stream: string): void {
    this.#outgoing.get(stream)?.drop()
    this.#outgoing.delete(stream)
  }

  /** A StreamChunk, with FINAL the last one. @throws BadPayload; RegistryError where it asks for an Ack and has no stream */
  chunk(message: MxpMessage): void {
    const payload = parsePayload(message.payload)
    const stream = this.#find(message, payload)
    if (!stream) return
    if (!Object.hasOwn(payload, 'payload')) throw new BadPayload('the StreamChunk has no "payload"')
    stream.chunk({
      payload: payload.payload,
      bytes: message.payload.length,
      onPassed: () => this.#port.ack(message),
      onLost: () => {
        if (message.flags & MXP_FLAGS.REQUIRES_ACK)
          this.#port.refuse(message, unknownStream(message, stream.id))
      },
    })
    if (message.flags & MXP_FLAGS.FINAL) stream.end(null)
    if (this.#waitingBytes() > WAITING_MAX) this.#overflow(stream)
  }

  /** A StreamClose of the sender, or of a receiver that wants no more. @throws BadPayload; RegistryError as above */
  close(message: MxpMessage): void {
    const payload = parsePayload(message.payload)
    const id = nameOf(payload, 'stream')
    if (this.#incoming.delete(id)) {
      const reason = typeof payload.reason === 'string' ? payload.reason.slice(0, LIMITS.stringChars) : null
      this.#port.command({ type: 'stream.cancel', stream: id, reason })
    } else {
      const stream = this.#find(message, payload)
      if (!stream) return
      stream.end(errorOf(payload.error))
    }
    this.#port.ack(message)
  }

  /** Frames of a stream that nobody has, or that has ended, are ignored, unless their sender waits for an Ack. */
  #find({ type, flags }: MxpMessage, payload: JsonObject): OutgoingStream | null {
    const id = nameOf(payload, 'stream')
    const stream = this.#outgoing.get(id)
    if (stream && !stream.ended) return stream
    if (!(flags & MXP_FLAGS.REQUIRES_ACK)) return null
    throw unknownStream({ type }, id)
  }

  #waitingBytes(): number {
    let sum = 0
    for (const { waitingBytes } of this.#outgoing.values()) sum += waitingBytes
    return sum
  }

  #overflow(stream: OutgoingStream): void {
    const message = `more than ${WAITING_MAX} bytes of chunks wait for the receiver; set REQUIRES_ACK and wait for Acks`
    const error = { code: 'overflow', message }
    stream.breakOff(error)
    this.#port.send(toWire('StreamClose', stream.ids, { stream: stream.id, error }, MXP_FLAGS.FINAL))
  }

  opened({ stream, from, correlationId }: StreamOpened): Buffer {
    const call = parseCorrelationId(correlationId)
    const ids = call ?? { messageId: xxh3(new TextEncoder().encode(stream)), traceId: 0n }
    this.#incoming.set(stream, { ids, credit: CREDIT })
    this.#grant(stream, CREDIT)
    return toWire('StreamOpen', ids, {
      stream,
      from,
      ...(correlationId === undefined ? {} : { correlationId }),
    })
  }

  /** Not in the middle of what the hub is at. */
  #grant(stream: string, credit: number): void {
    queueMicrotask(() => {
      if (this.#incoming.has(stream)) this.#port.command({ type: 'stream.credit', stream, credit })
    })
  }

  chunked({ stream, seq, payload }: StreamChunked): Buffer[] {
    const incoming = this.#incoming.get(stream)
    if (!incoming) return []
    if (--incoming.credit <= CREDIT / 2) {
      const credit = CREDIT - incoming.credit
      incoming.credit += credit
      this.#grant(stream, credit)
    }
    return [toWire('StreamChunk', incoming.ids, { stream, seq, payload: readable(payload) })]
  }

  /** The sender's end, or the hub's in its place, of a stream in either direction. */
  ended({ stream, error, seq }: StreamEnded): Buffer[] {
    const body = { stream, error, ...(seq === undefined ? {} : { seq }) }
    return this.#over(stream, body)
  }

  /** The receiver wants no more. */
  cancelled({ stream, reason }: StreamCancelled): Buffer[] {
    return this.#over(stream, { stream, cancelled: true, reason })
  }

  #over(stream: string, body: object): Buffer[] {
    const outgoing = this.#outgoing.get(stream)
    const ids = this.#incoming.get(stream)?.ids ?? outgoing?.ids
    this.#incoming.delete(stream)
    this.#outgoing.delete(stream)
    outgoing?.drop()
    return ids ? [toWire('StreamClose', ids, body, MXP_FLAGS.FINAL)] : []
  }

  credited({ stream, credit }: StreamCredited): void {
    const outgoing = this.#outgoing.get(stream)
    if (outgoing) queueMicrotask(() => outgoing.grant(credit))
  }
}

const unknownStream = ({ type }: Pick<MxpMessage, 'type'>, stream: string): RegistryError =>
  new RegistryError(
    'UNKNOWN_STREAM',
    `${type}: this connection sends no stream ${show(stream)}, or it has ended`,
  )

/** What a StreamClose says went wrong, as the hub's protocol has it. */
function errorOf(error: unknown): StreamError | null {
  if (error == null) return null
  const { code, message } =
    typeof error === 'object' ? (error as Partial<StreamError>) : { code: null, message: error }
  const text = typeof message === 'string' ? message : show(error)
  return {
    code: typeof code === 'string' ? code.slice(0, LIMITS.stringChars) : 'error',
    message: text.slice(0, LIMITS.streamErrorChars),
  }
}
