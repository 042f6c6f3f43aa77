import type { Ref } from '../../protocol/commands.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { type ErrorCode, MeshError } from '../../protocol/errors.ts'
import type { StreamError } from '../../protocol/pushes.ts'
import type { StreamFrame } from '../core/stream-frames.ts'
import { payloadText } from './message-text.ts'
import type { SessionStreams } from './session-streams.ts'
import { type StreamLane, type StreamPeer, weightOf } from './stream-peer.ts'

/** Weight of the chunks that a sender may have under way to its hub, by the size of those it sent. */
const AHEAD_MAX = 262_144
/** What a chunk is taken to weigh before the first one has come. */
const FIRST_WEIGHT = 65_536

interface Opening {
  readonly id: string
  readonly ref: Ref
  readonly stream: string
  readonly to: string
  readonly correlationId: string | null
}

/**
 * A stream's end at the sender: takes its chunks, passes them on while there is room on the way to the receiver, and grants
 * of the receiver's credit as much as this hub can hold.
 */
export class StreamSource {
  /** Between the hubs. */
  readonly id: string
  /** The receiver. */
  readonly to: string
  readonly #stream: string
  readonly #correlationId: string | null
  readonly #owner: SessionStreams
  readonly #peer: StreamPeer
  readonly #lane: StreamLane
  /** Of the `stream.open` without an answer. */
  #ref: Ref | null
  #taken = 0
  #sent = 0
  #credit = 0
  #granted = 0
  #typicalWeight = FIRST_WEIGHT
  #queue: string[] = []
  #queuedWeight = 0
  /** Of the chunks that were sent and not confirmed. */
  #weights: number[] = []
  #confirmed = 0
  /** What the sender, or this hub in its place, ended it with. */
  #ending: { readonly error: StreamError | null; readonly byHub: boolean } | null = null
  #endFrame: StreamFrame | null = null
  #removed = false

  constructor(owner: SessionStreams, peer: StreamPeer, { id, ref, stream, to, correlationId }: Opening) {
    this.#owner = owner
    this.#peer = peer
    this.id = id
    this.to = to
    this.#ref = ref
    this.#stream = stream
    this.#correlationId = correlationId
    owner.sources.set(stream, this)
    this.#lane = peer.addSource(this)
  }

  /** Says how far this is, at first that it is to be opened: what was said before may have been lost. */
  repeat(): void {
    const { id, to } = this
    if (this.#ref !== null) {
      const from = this.#owner.session.agentId
      this.#peer.send({ op: 'open', id, from, to, correlationId: this.#correlationId })
    } else {
      this.#peer.send(this.#endFrame ?? { op: 'sent', id, count: this.#sent })
    }
  }

  get isOpening(): boolean {
    return this.#ref !== null
  }

  /** The sender's next chunk. */
  chunk(seq: number, payload: unknown): void {
    const { connection } = this.#owner.session
    if (this.#taken >= this.#granted) {
      connection.close('bad_protocol')
      return
    }
    if (seq !== this.#taken) {
      this.refuse({ code: 'bad_frame', message: `the chunk has seq ${seq}; the next is ${this.#taken}` })
      return
    }
    let text: string
    try {
      text = payloadText(payload, connection.hub.maxPayloadBytes)
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      this.refuse({ code: error.code, message: error.message })
      return
    }
    const weight = weightOf(text)
    // The greatest of late, so that a burst of large ones after small ones is answered at once.
    this.#typicalWeight = Math.max(weight, this.#taken === 0 ? 0 : this.#typicalWeight * 0.98)
    this.#taken++
    this.#queue.push(text)
    this.#queuedWeight += weight
    this.#owner.queue(weight)
    this.pump()
  }

  /** The sender's end; its id is free. */
  end(error: StreamError | null): void {
    this.#owner.sources.delete(this.#stream)
    this.#ending = { error, byHub: false }
    this.pump()
  }

  /** Passes on what there is room for; then grants more, or says the end. */
  pump(): void {
    if (this.#removed || this.#endFrame !== null || this.#ref !== null) return
    let passed = 0
    let weight = 0
    while (passed < this.#queue.length && this.#lane.hasRoom) {
      const text = this.#queue[passed++] as string
      const one = weightOf(text)
      weight += one
      this.#lane.take(one)
      this.#weights.push(one)
      this.#peer.sendChunk(this.id, this.#sent++, text)
    }
    this.#unqueue(passed, weight)
    if (this.#queue.length > 0) this.#lane.wait(this)
    else if (this.#ending !== null) this.#sendEnd(this.#ending)
    else this.#grant()
  }

  #unqueue(count: number, weight: number): void {
    if (count === 0) return
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count)
    this.#queuedWeight -= weight
    this.#owner.queue(-weight)
  }

  #sendEnd({ error, byHub }: { error: StreamError | null; byHub: boolean }): void {
    this.#endFrame = { op: 'end', id: this.id, count: this.#sent, error, byHub }
    this.#peer.send(this.#endFrame)
  }

  #grant(): void {
    const ahead = Math.max(1, Math.floor(AHEAD_MAX / this.#typicalWeight))
    const target = Math.min(this.#credit, this.#taken + ahead)
    const left = this.#granted - this.#taken
    // Not one by one: where the hub is the limit, half of what may be under way at a time.
    if (target <= this.#granted || (target < this.#credit && left > ahead / 2)) return
    const credit = target - this.#granted
    this.#granted = target
    this.#owner.push(`{"type":"stream.credit","stream":"${this.#stream}","credit":${credit}}`)
  }

  /** How far the receiver is. */
  state(credit: number, passed: number): void {
    this.#accepted()
    this.#credit = Math.max(this.#credit, credit)
    let freed = 0
    while (this.#confirmed < passed && this.#weights.length > 0) {
      this.#confirmed++
      freed += this.#weights.shift() as number
    }
    if (this.#endFrame !== null && this.#weights.length === 0) this.#remove()
    this.#lane.free(freed)
    this.pump()
  }

  #accepted(): void {
    if (this.#ref === null) return
    this.#owner.session.connection.reply(this.#ref, '{}')
    this.#ref = null
  }

  /** The receiver wants no more. */
  cancelled(reason: string | null): void {
    this.#accepted()
    if (this.#ending === null)
      this.#owner.push(JSON.stringify({ type: 'stream.cancel', stream: this.#stream, reason }))
    this.#remove()
  }

  /** It was not opened, or the receiver or its hub is gone, or chunks were lost on the way. */
  over(error: StreamError): void {
    if (this.#ref !== null) this.#failOpening(error)
    else if (this.#ending === null) this.#tellEnd(error)
    this.#remove()
  }

  /** The sender is gone. What it had ended before goes its way. */
  leave(): void {
    const message = `agent ${JSON.stringify(this.#owner.session.agentId)} is gone`
    this.#abandon({ code: 'peer_gone', message })
  }

  /** The hub ends it for both: the sender broke a rule, or may not send to the receiver any more. */
  refuse(error: StreamError): void {
    if (this.#ref === null) this.#tellEnd(error)
    else this.#failOpening(error)
    this.#abandon(error)
  }

  #failOpening({ code, message }: StreamError): void {
    if (this.#ref === null) return
    const known = Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'unknown_target'
    this.#owner.session.connection.fail(this.#ref, new MeshError(known, message))
  }

  #abandon(error: StreamError): void {
    this.#owner.sources.delete(this.#stream)
    this.#ref = null
    this.#unqueue(this.#queue.length, this.#queuedWeight)
    this.#lane.forget(this)
    this.#ending = { error, byHub: true }
    if (!this.#removed) this.#sendEnd(this.#ending)
  }

  #tellEnd(error: StreamError): void {
    const seq = this.#sent - 1
    this.#owner.push(JSON.stringify({ type: 'stream.end', stream: this.#stream, error, seq }))
  }

  #remove(): void {
    if (this.#removed) return
    this.#removed = true
    if (this.#owner.sources.get(this.#stream) === this) this.#owner.sources.delete(this.#stream)
    this.#unqueue(this.#queue.length, this.#queuedWeight)
    this.#peer.removeSource(this, this.#lane)
    this.#lane.free(this.#weights.reduce((sum, weight) => sum + weight, 0))
    this.#weights = []
  }
}
