import { nanoid } from 'nanoid'
import { LIMITS } from '../../protocol/limits.ts'
import type { Session } from './session.ts'
import type { StreamSink } from './stream-sink.ts'
import type { StreamSource } from './stream-source.ts'

/** Weight of chunks of one sender that its hub keeps back; beyond, its socket is read no further. */
const QUEUED_MAX = 4_194_304
const HOLD = 'streams'

/** The streams of one session in both directions: one space of ids, one limit. */
export class SessionStreams {
  readonly session: Session
  readonly sources = new Map<string, StreamSource>()
  readonly sinks = new Map<string, StreamSink>()
  /** Sinks whose chunks wait for the receiver to read, before the sender's hub is told of them. */
  readonly #blocked = new Set<StreamSink>()
  #queued = 0
  #held = false

  constructor(session: Session) {
    this.session = session
  }

  get isFull(): boolean {
    return this.sources.size + this.sinks.size >= LIMITS.streamsMax
  }

  get isBehind(): boolean {
    return this.session.connection.behind
  }

  has(stream: string): boolean {
    return this.sources.has(stream) || this.sinks.has(stream)
  }

  /** An id that the client does not have, and hardly chooses while this one is on its way to it. */
  newId(): string {
    for (;;) {
      const id = nanoid(12)
      if (!this.has(id)) return id
    }
  }

  push(text: string): void {
    this.session.connection.push(text)
  }

  block(sink: StreamSink): void {
    this.#blocked.add(sink)
  }

  /** The receiver has read most of what waited for it. */
  drained(): void {
    if (this.#blocked.size === 0 || this.isBehind) return
    const sinks = [...this.#blocked]
    this.#blocked.clear()
    for (const sink of sinks) sink.confirm()
  }

  /** Chunks of this sender are kept back (`weight` > 0), or are not any more. */
  queue(weight: number): void {
    this.#queued += weight
    const { connection } = this.session
    if (!this.#held && this.#queued > QUEUED_MAX) {
      this.#held = true
      connection.hold(HOLD)
    } else if (this.#held && this.#queued <= QUEUED_MAX / 2) {
      this.#held = false
      // Later: reading on means chunks, in the middle of what makes room for them.
      queueMicrotask(() => {
        if (!this.#held) connection.release(HOLD)
      })
    }
  }

  /** The session is over, and all that it had open. */
  leave(): void {
    for (const source of [...this.sources.values()]) source.leave()
    for (const sink of [...this.sinks.values()]) sink.leave()
    const blocked = [...this.#blocked]
    this.#blocked.clear()
    for (const sink of blocked) sink.leave()
  }
}
