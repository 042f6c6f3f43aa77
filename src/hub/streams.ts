import type { StreamOpen } from '../../protocol/commands.ts'
import { show } from '../../protocol/agent.ts'
import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { StreamError } from '../../protocol/pushes.ts'
import type { Signal } from '../core/bus.ts'
import type { RegistryEvent } from '../core/registry.ts'
import type { StreamFrame } from '../core/stream-frames.ts'
import type { Namespace } from './namespace.ts'
import type { Session } from './session.ts'
import { SessionStreams } from './session-streams.ts'
import { StreamPeer } from './stream-peer.ts'
import { StreamSink } from './stream-sink.ts'
import { StreamSource } from './stream-source.ts'

/** How often two hubs with streams between them give each other a sign of life. */
const BEAT_MS = 1_000
/** After so many signs of life they say again all that the other may have missed. */
const REPEAT_EVERY = 2
/** A hub of which nothing is heard for so long is asked, and after so long it is dead: its streams are over. */
const QUIET_MS = 1_500
const SILENT_MS = 3_000

/**
 * The streams of one namespace whose sender or receiver is on this hub. Both ends of a stream talk by frames, over the bus where
 * they are on two hubs. Signals may be lost: chunks are counted, a gap ends the stream; credit and ends are told again.
 */
export class Streams {
  readonly #namespace: Namespace
  readonly #peers = new Map<string, StreamPeer>()
  readonly #sessions = new Map<Session, SessionStreams>()
  #timer: NodeJS.Timeout | null = null
  #beats = 0
  #beatAt = 0
  #count = 0

  constructor(namespace: Namespace) {
    this.#namespace = namespace
  }

  /** `stream.open`; answered when the receiver's hub has opened it. @throws MeshError */
  open(session: Session, { ref, stream, to, correlationId }: StreamOpen): void {
    const streams = this.#of(session)
    if (streams.isFull) {
      const message = `this connection has ${LIMITS.streamsMax} streams open; end or cancel one first`
      throw new MeshError('bad_frame', message)
    }
    if (streams.has(stream)) {
      throw new MeshError('bad_frame', `this connection has a stream ${show(stream)}; choose another id`)
    }
    const state = this.#namespace.replica.get(to.agent)?.record.state
    if (!state?.connected || state.hub === null) {
      const what = state ? 'is not connected' : `is not in namespace "${this.#namespace.name}"`
      throw new MeshError('unknown_target', `agent ${show(to.agent)} ${what}; a stream needs a connected one`)
    }
    const id = (this.#count++).toString(36)
    const peer = this.#peer(state.hub)
    const opening = { id, ref, stream, to: to.agent, correlationId: correlationId ?? null }
    new StreamSource(streams, peer, opening).repeat()
  }

  /** The session's streams, or none where it never had any. */
  find(session: Session): SessionStreams | undefined {
    return this.#sessions.get(session)
  }

  #of(session: Session): SessionStreams {
    let streams = this.#sessions.get(session)
    if (!streams) {
      streams = new SessionStreams(session)
      this.#sessions.set(session, streams)
    }
    return streams
  }

  /** The session is over. */
  leave(session: Session): void {
    const streams = this.#sessions.get(session)
    this.#sessions.delete(session)
    streams?.leave()
  }

  #peer(hub: string): StreamPeer {
    const known = this.#peers.get(hub)
    if (known) return known
    const isHere = hub === this.#namespace.hub
    const peer = new StreamPeer(hub, {
      post: isHere
        ? // Never in the middle of what sends it.
          (frames) => queueMicrotask(() => this.#receive(peer, frames))
        : (frames, ask) => this.#publish(hub, frames, ask),
      // Over the bus, all of one turn in one signal; here at the end of what is being done.
      defer: isHere ? queueMicrotask : setImmediate,
    })
    this.#peers.set(hub, peer)
    if (!isHere && !this.#timer) {
      this.#beatAt = performance.now()
      this.#timer = setInterval(() => this.#beat(), BEAT_MS)
      this.#timer.unref()
    }
    return peer
  }

  *#otherPeers(): Generator<StreamPeer, undefined> {
    for (const peer of [...this.#peers.values()]) if (peer.hub !== this.#namespace.hub) yield peer
    return undefined
  }

  #publish(hub: string, frames: readonly StreamFrame[], ask: boolean): void {
    const { core, name, hub: from } = this.#namespace
    core.bus.publish(name, hub, { kind: 'streams', from, ask, frames })
  }

  /** Another hub tells. */
  onSignal({ from, ask, frames }: Signal & { kind: 'streams' }): void {
    if (frames.length === 0 && !this.#peers.has(from)) return
    const peer = this.#peer(from)
    peer.heardAt = performance.now()
    this.#receive(peer, frames)
    if (!ask) return
    peer.repeat()
    peer.flush()
  }

  #receive(peer: StreamPeer, frames: readonly StreamFrame[]): void {
    for (const frame of frames) this.#onFrame(peer, frame)
    peer.confirm()
  }

  #onFrame(peer: StreamPeer, frame: StreamFrame): void {
    const { id } = frame
    const source = peer.sources.get(id)
    const sink = peer.sinks.get(id)
    switch (frame.op) {
      case 'open':
        if (sink) sink.tell()
        else this.#accept(peer, frame)
        break
      case 'chunks':
        if (sink) sink.chunks(frame.seq, frame.payloads)
        else peer.send({ op: 'over', id, error: null })
        break
      case 'sent':
        if (sink) sink.sent(frame.count)
        else peer.send({ op: 'over', id, error: null })
        break
      case 'end':
        if (sink) sink.end(frame.count, frame.error, frame.byHub)
        else peer.send({ op: 'over', id, error: null })
        break
      case 'unknown':
        sink?.abort(this.#lost(peer, sink.from))
        break
      case 'state':
        if (source) source.state(frame.credit, frame.passed)
        else peer.send({ op: 'unknown', id })
        break
      case 'cancel':
        source?.cancelled(frame.reason)
        break
      case 'over':
        source?.over(frame.error ?? this.#lost(peer, source.to))
        break
    }
  }

  /** A stream is opened towards an agent of this hub. */
  #accept(peer: StreamPeer, frame: StreamFrame & { op: 'open' }): void {
    const session = this.#namespace.session(frame.to)
    const who = `agent ${show(frame.to)}`
    const refuse = (code: string, message: string): void =>
      peer.send({ op: 'over', id: frame.id, error: { code, message } })
    // Before its welcome a client is sent nothing.
    if (session?.connection.state !== 'open') {
      refuse('unknown_target', `${who} is not connected; a stream needs a connected one`)
      return
    }
    const streams = this.#of(session)
    if (streams.isFull) refuse('inbox_full', `${who} has ${LIMITS.streamsMax} streams open; try again later`)
    else if (streams.isBehind) refuse('inbox_full', `${who} does not read fast enough; try again later`)
    else new StreamSink(streams, peer, frame).open()
  }

  /** What to say where the other hub does not know the stream and this one does not know why. */
  #lost({ hub }: StreamPeer, agentId: string): StreamError {
    const state = this.#namespace.replica.get(agentId)?.record.state
    if (!state?.connected || state.hub !== hub)
      return { code: 'peer_gone', message: `agent ${show(agentId)} is gone` }
    return { code: 'interrupted', message: 'what two hubs had to tell each other of the stream was lost' }
  }

  /** The receiver's socket has room again. */
  drained(session: Session): void {
    this.#sessions.get(session)?.drained()
  }

  /** Where an agent with streams is not on its hub any more, that hub is asked: it may not have told the end of all of them. */
  onEvent({ agent }: RegistryEvent): void {
    if (!agent || !this.#timer) return
    for (const peer of this.#otherPeers()) {
      if (peer.hasAgent(agent.id) && (!agent.state.connected || agent.state.hub !== peer.hub)) this.#ask(peer)
    }
  }

  /** Signals may have been lost. */
  onGap(): void {
    for (const peer of this.#otherPeers()) this.#ask(peer)
  }

  #ask(peer: StreamPeer): void {
    peer.repeat()
    peer.flush(true)
  }

  #beat(): void {
    const now = performance.now()
    // Where this hub stood still, what the others said meanwhile has yet to be read.
    const stoodStill = now - this.#beatAt > 2 * BEAT_MS
    this.#beatAt = now
    const repeats = ++this.#beats % REPEAT_EVERY === 0
    for (const peer of this.#otherPeers()) {
      if (stoodStill) peer.heardAt = now
      if (peer.isIdle) {
        this.#peers.delete(peer.hub)
      } else if (now - peer.heardAt > SILENT_MS) {
        this.#bury(peer)
      } else if (now - peer.heardAt > QUIET_MS) {
        // It may have no stream with this hub any more, and nothing to say.
        this.#ask(peer)
      } else {
        if (repeats) peer.repeat()
        else for (const source of peer.sources.values()) if (source.isOpening) source.repeat()
        peer.flush()
      }
    }
    if ([...this.#otherPeers()].length === 0) this.#stop()
  }

  #bury(peer: StreamPeer): void {
    const goneWith = (agentId: string): StreamError => ({
      code: 'peer_gone',
      message: `the hub of agent ${show(agentId)} does not answer`,
    })
    for (const source of [...peer.sources.values()]) source.over(goneWith(source.to))
    for (const sink of [...peer.sinks.values()]) sink.abort(goneWith(sink.from))
  }

  #stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  close(): void {
    this.#stop()
  }
}
