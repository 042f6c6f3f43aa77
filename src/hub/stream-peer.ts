import type { StreamFrame } from '../core/stream-frames.ts'
import type { StreamSink } from './stream-sink.ts'
import type { StreamSource } from './stream-source.ts'

/** Weight of chunks on their way to one receiver, not yet written to its socket: then the sender's hub keeps the rest back. */
const LANE_MAX = 262_144
/** Weight of chunks from one hub that were written, of which it is told at once; of less it is told with the next credit. */
const CONFIRM_AT = LANE_MAX / 4
/** Characters in one signal: more saves nothing. */
const BATCH_CHARS = 262_144
const CHUNK_OVERHEAD = 64

/** What a chunk costs on its way: its text, and something for being one. */
export const weightOf = (text: string): number => text.length + CHUNK_OVERHEAD

/** The way from this hub to one receiver, which all streams to it share, as they share its socket. */
export class StreamLane {
  #inFlight = 0
  readonly #waiting = new Set<StreamSource>()
  /** Streams that use it. */
  users = 0

  get hasRoom(): boolean {
    return this.#inFlight < LANE_MAX
  }

  take(weight: number): void {
    this.#inFlight += weight
  }

  wait(source: StreamSource): void {
    this.#waiting.add(source)
  }

  /** `weight` has arrived, or will not: those who wait go on, in turn. */
  free(weight: number): void {
    this.#inFlight -= weight
    for (const source of [...this.#waiting]) {
      if (!this.hasRoom) return
      this.#waiting.delete(source)
      source.pump()
    }
  }

  forget(source: StreamSource): void {
    this.#waiting.delete(source)
  }
}

export interface StreamPeerPort {
  /** Hands frames over to the hub, in order. */
  post(frames: readonly StreamFrame[], ask: boolean): void
  /** Runs a task later: then all that was sent until then is handed over at once. */
  defer(task: () => void): void
}

/** One hub that streams of this one lead to and come from; this hub itself is one too. */
export class StreamPeer {
  readonly hub: string
  /** Streams to agents there, and from agents there. */
  readonly sources = new Map<string, StreamSource>()
  readonly sinks = new Map<string, StreamSink>()
  /** When it was last heard, by a clock that only goes forward. */
  heardAt = performance.now()
  readonly #port: StreamPeerPort
  readonly #lanes = new Map<string, StreamLane>()
  /** How many streams each of its agents has with this hub. */
  readonly #agents = new Map<string, number>()
  readonly #unconfirmed = new Set<StreamSink>()
  #unconfirmedWeight = 0
  #frames: StreamFrame[] = []
  #open: { readonly id: string; next: number; readonly payloads: string[] } | null = null
  #chars = 0
  #scheduled = false

  constructor(hub: string, port: StreamPeerPort) {
    this.hub = hub
    this.#port = port
  }

  get isIdle(): boolean {
    return this.sources.size === 0 && this.sinks.size === 0
  }

  hasAgent(agentId: string): boolean {
    return this.#agents.has(agentId)
  }

  /** @returns the way to the receiver */
  addSource(source: StreamSource): StreamLane {
    this.#addAgent(source.to)
    this.sources.set(source.id, source)
    const lane = this.#lanes.get(source.to) ?? new StreamLane()
    lane.users++
    this.#lanes.set(source.to, lane)
    return lane
  }

  removeSource(source: StreamSource, lane: StreamLane): void {
    if (!this.sources.delete(source.id)) return
    this.#removeAgent(source.to)
    lane.forget(source)
    if (--lane.users === 0) this.#lanes.delete(source.to)
  }

  addSink(sink: StreamSink): void {
    this.#addAgent(sink.from)
    this.sinks.set(sink.id, sink)
  }

  removeSink(sink: StreamSink): void {
    if (!this.sinks.delete(sink.id)) return
    this.#removeAgent(sink.from)
    this.#unconfirmed.delete(sink)
  }

  #addAgent(agentId: string): void {
    // Nothing was to be heard while there was nothing to tell.
    if (this.isIdle) this.heardAt = performance.now()
    this.#agents.set(agentId, (this.#agents.get(agentId) ?? 0) + 1)
  }

  #removeAgent(agentId: string): void {
    const left = (this.#agents.get(agentId) ?? 1) - 1
    if (left === 0) this.#agents.delete(agentId)
    else this.#agents.set(agentId, left)
  }

  send(frame: StreamFrame): void {
    this.#open = null
    this.#add(frame, 0)
  }

  sendChunk(id: string, seq: number, text: string): void {
    const open = this.#open
    if (open?.id === id && open.next === seq) {
      open.next++
      open.payloads.push(text)
      this.#chars += text.length
      if (this.#chars > BATCH_CHARS) this.flush()
      return
    }
    const payloads = [text]
    this.#open = { id, next: seq + 1, payloads }
    this.#add({ op: 'chunks', id, seq, payloads }, text.length)
  }

  #add(frame: StreamFrame, chars: number): void {
    this.#frames.push(frame)
    this.#chars += chars + CHUNK_OVERHEAD
    if (this.#chars > BATCH_CHARS) this.flush()
    if (this.#scheduled || this.#frames.length === 0) return
    this.#scheduled = true
    this.#port.defer(() => {
      this.#scheduled = false
      if (this.#frames.length > 0) this.flush()
    })
  }

  /** Hands over what was sent, or without any a sign of life. */
  flush(ask = false): void {
    const frames = this.#frames
    this.#frames = []
    this.#open = null
    this.#chars = 0
    this.#port.post(frames, ask)
  }

  /** Says all that the hub may have missed. */
  repeat(): void {
    for (const source of this.sources.values()) source.repeat()
    for (const sink of this.sinks.values()) sink.tell()
  }

  /** Chunks were written to the socket of this sink's receiver. */
  wrote(sink: StreamSink, weight: number): void {
    this.#unconfirmed.add(sink)
    this.#unconfirmedWeight += weight
  }

  /** Tells the hub what was written, where it is enough to be told. */
  confirm(): void {
    if (this.#unconfirmedWeight < CONFIRM_AT) return
    this.#unconfirmedWeight = 0
    const sinks = [...this.#unconfirmed]
    this.#unconfirmed.clear()
    for (const sink of sinks) sink.confirm()
  }
}
