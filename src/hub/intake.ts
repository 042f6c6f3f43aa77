import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { CloseReason } from '../../protocol/close-codes.ts'
import { BrokenText } from '../../protocol/codec.ts'
import { Backlog, type Frames } from './backlog.ts'
import type { Frame } from './dialect.ts'
import { Holds } from './holds.ts'
import { Share, type Turns } from './turn.ts'

/** Why a connection is held that has had its share of a turn. */
const TURN = 'turn'
/** Holds that say nothing of how a hub fares. */
const UNCOUNTED: ReadonlySet<string> = new Set([TURN, 'bye'])
/** After how many frames it is looked at whether a connection has had its share. */
const FRAMES_A_LOOK = 16
/** Characters of a frame beyond which its time is looked at; what takes long though it is smaller is the fault of something else. */
const LARGE_SIZE = 16_384

/** What ws reads from; it hands out no part of it. */
const streamOf = (socket: WebSocket): Socket => (socket as unknown as { readonly _socket: Socket })._socket

/** What an intake needs of its connection. */
export interface IntakePort {
  /** Nothing is worked on any more. */
  readonly isClosing: boolean
  work(frame: Frame): void
  /** A large frame took so many milliseconds: it counts for them, whatever it is, since it cannot be stopped where the share ends. */
  onLarge(ms: number): void
  close(reason: CloseReason): void
  /** A fault of the hub, at a frame. */
  onFailure(error: unknown): void
  /** It is held for a reason that says something of how the hub fares. */
  onHeld(reason: string): void
  /** No reason is left to hold it. */
  onReleased(): void
  /** Its socket is closed, and all that came before that was worked on. */
  onUsedUp(): void
}

/**
 * What one connection's client says, on its way to be worked on: in order, within the connection's share of each turn, and not
 * while it is held.
 */
export class Intake {
  readonly #port: IntakePort
  readonly #socket: WebSocket
  /** What was read and not yet worked on, because the connection is held. */
  readonly #backlog = new Backlog()
  readonly #share: Share
  readonly #holds = new Holds((reason) => this.release(reason))
  #finished = false

  constructor(port: IntakePort, socket: WebSocket, turns: Turns) {
    this.#port = port
    this.#socket = socket
    this.#share = new Share(turns)
    // What ws reads at once may be many messages, or parts of them that nobody is told of.
    const stream = streamOf(socket)
    stream.prependListener('data', () => this.#share.begin())
    stream.on('data', () => this.#rest())
  }

  get held(): boolean {
    return this.#holds.any
  }

  /** Its socket is closed: what came before that is worked on still. */
  get finished(): boolean {
    return this.#finished
  }

  add(frames: Frames): void {
    this.#backlog.add(frames)
    this.#process()
  }

  /** Works on the frame that was just taken again, before all others, when the connection is released. */
  putBack(frame: Frame): void {
    this.#backlog.putBack(frame)
  }

  /** Works on what was read, until the connection is held, or has had its share of this turn. */
  #process(): void {
    const port = this.#port
    this.#share.begin()
    try {
      for (let worked = 1; !this.held && !port.isClosing; worked++) {
        const begunAt = performance.now()
        const frame = this.#backlog.take()
        if (!frame) break
        port.work(frame)
        const isLarge = this.#backlog.size > LARGE_SIZE
        if (isLarge) port.onLarge(performance.now() - begunAt)
        if (isLarge || worked % FRAMES_A_LOOK === 0) this.#rest()
      }
    } catch (error) {
      if (error instanceof BrokenText) port.close('bad_protocol')
      // Commands tell their own failures; what comes here is a fault of the hub, which must end no other connection.
      else port.onFailure(error)
    }
    if (port.isClosing) this.#backlog.clear()
    else if (this.#finished && !this.#holds.has(TURN)) port.onUsedUp()
  }

  /** Goes on in the next turn, where it has had its share of this one. */
  #rest(): void {
    if (this.held || this.#port.isClosing || !this.#share.isUsedUp) return
    this.hold(TURN)
    setImmediate(() => this.release(TURN))
  }

  /** Reads no further until every reason is released. */
  hold(reason: string): void {
    if (!this.#holds.has(reason) && !UNCOUNTED.has(reason)) this.#port.onHeld(reason)
    this.#holds.add(reason)
    if (!this.#port.isClosing) this.#socket.pause()
  }

  /** As `hold`, for a time; of two times of one reason the longer one counts. */
  holdFor(reason: string, ms: number): void {
    this.hold(reason)
    this.#holds.endIn(reason, ms)
  }

  release(reason: string): void {
    if (!this.#holds.delete(reason) || this.held || this.#port.isClosing) return
    this.#port.onReleased()
    this.#process()
    if (!this.held) this.#socket.resume()
  }

  /** Its socket is closed: no hold keeps back what the client sent before it left. */
  finish(): void {
    this.#holds.clear()
    this.#finished = true
    this.#process()
  }
}
