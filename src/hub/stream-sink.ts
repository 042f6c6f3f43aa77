import type { StreamError } from '../../protocol/pushes.ts'
import type { SessionStreams } from './session-streams.ts'
import { type StreamPeer, weightOf } from './stream-peer.ts'

/** A stream's end at the receiver: writes its chunks to the socket, and tells the sender's hub what the receiver takes. */
export class StreamSink {
  /** Between the hubs. */
  readonly id: string
  /** The sender. */
  readonly from: string
  /** For the receiver. */
  readonly stream: string
  readonly #owner: SessionStreams
  readonly #peer: StreamPeer
  readonly #chunkStart: string
  readonly #correlationId: string | null
  #next = 0
  #credit = 0
  /** Chunks that the receiver's socket had room for. */
  #confirmed = 0
  /** The receiver has been told the end; the sender's hub may not know that all is written. */
  #ended = false

  constructor(
    owner: SessionStreams,
    peer: StreamPeer,
    { id, from, correlationId }: { id: string; from: string; correlationId: string | null },
  ) {
    this.#owner = owner
    this.#peer = peer
    this.id = id
    this.from = from
    this.stream = owner.newId()
    this.#chunkStart = `{"type":"stream.chunk","stream":"${this.stream}","seq":`
    this.#correlationId = correlationId
    owner.sinks.set(this.stream, this)
    peer.addSink(this)
  }

  /** Tells both sides. */
  open(): void {
    const { stream, from } = this
    const correlation = this.#correlationId === null ? {} : { correlationId: this.#correlationId }
    this.#owner.push(JSON.stringify({ type: 'stream.open', stream, from, ...correlation }))
    this.tell()
  }

  /** The receiver takes so many more. */
  credit(credit: number): void {
    this.#credit += credit
    this.tell()
  }

  /** The receiver wants no more. */
  cancel(reason: string | null): void {
    this.#peer.send({ op: 'cancel', id: this.id, reason })
    this.#remove()
  }

  /** Tells the sender's hub how far this is. */
  tell(): void {
    if (!this.#owner.isBehind) this.#confirmed = this.#next
    this.#peer.send({ op: 'state', id: this.id, credit: this.#credit, passed: this.#confirmed })
    if (this.#ended && this.#confirmed === this.#next) this.#remove()
  }

  /** Tells the sender's hub that all is written, as soon as the receiver's socket has room. */
  confirm(): void {
    if (this.#owner.isBehind) this.#owner.block(this)
    else this.tell()
  }

  /** Chunks came; `seq` is that of the first. */
  chunks(seq: number, payloads: readonly string[]): void {
    if (this.#ended) return
    if (seq !== this.#next) {
      this.#interrupt()
      return
    }
    let weight = 0
    for (const text of payloads) {
      // Joined, not concatenated: see messageText.
      this.#owner.push([this.#chunkStart, this.#next++, ',"payload":', text, '}'].join(''))
      weight += weightOf(text)
    }
    this.#peer.wrote(this, weight)
  }

  /** So many chunks were sent; all that were sent before this was said have come, unless they were lost. */
  sent(count: number): void {
    if (!this.#ended && count !== this.#next) this.#interrupt()
  }

  /** The stream ended after `count` chunks. */
  end(count: number, error: StreamError | null, byHub: boolean): void {
    if (this.#ended) return
    if (count !== this.#next) {
      this.#interrupt()
      return
    }
    this.#tellEnd(error, byHub)
    this.confirm()
  }

  #interrupt(): void {
    const message = `chunk ${this.#next} was lost between two hubs`
    this.abort({ code: 'interrupted', message })
  }

  /** The hub ends it for both. */
  abort(error: StreamError): void {
    if (!this.#ended) {
      this.#tellEnd(error, true)
      this.#peer.send({ op: 'over', id: this.id, error })
    }
    this.#remove()
  }

  #tellEnd(error: StreamError | null, byHub: boolean): void {
    const seq = byHub ? { seq: this.#next - 1 } : {}
    this.#owner.push(JSON.stringify({ type: 'stream.end', stream: this.stream, error, ...seq }))
    this.#ended = true
    this.#owner.sinks.delete(this.stream)
  }

  /** The receiver is gone. */
  leave(): void {
    const { agentId } = this.#owner.session
    const message = `agent ${JSON.stringify(agentId)} is gone`
    this.#peer.send({ op: 'over', id: this.id, error: { code: 'peer_gone', message } })
    this.#remove()
  }

  #remove(): void {
    this.#ended = true
    this.#owner.sinks.delete(this.stream)
    this.#peer.removeSink(this)
  }
}
