import type { Socket } from 'node:net'
import { WebSocket } from 'ws'

/** Bytes waiting for a socket beyond which nothing stored is pushed, and it is watched whether it reads. */
export const BEHIND_BYTES = 1_048_576
/** The same where very much waits for others. */
export const BEHIND_LEAST_BYTES = 16_384
/**
 * Bytes that may wait for all sockets together, besides `BEHIND_LEAST_BYTES` for each: a socket is behind with a part of what is
 * left of that, so that a thousand that do not read cost no more memory than a hundred.
 */
const WAITING_BYTES = 128 * BEHIND_BYTES
const PART = 16
/** Bytes waiting for one socket that count: of less, nothing is heard when they are gone. */
const COUNTED_BYTES = 65_536
/** Bytes waiting for a socket, besides one message of the largest size, that end it at once, whatever they are made of. */
const HARD_LIMIT_BYTES = 16 * BEHIND_BYTES
/** Characters up to which frames are joined: more in one message saves nothing. */
const JOIN_CHARS = 65_536
/** Answers that may be owed: who takes more messages than this without answering any does not answer. */
const ANSWERS_MAX = 4_096
/** How long a socket may be behind without its peer reading a byte. */
const SLOW_MS = 10_000

/** One text message as the bytes of an unmasked WebSocket frame (RFC 6455, 5.2), for one or for many sockets, written once. */
export function toWireFrame(text: string): Buffer {
  // FIN and the opcode of a text.
  return framed(0x81, Buffer.byteLength(text), (wire, head) => wire.write(text, head))
}

function framed(first: number, length: number, fill: (wire: Buffer, head: number) => void): Buffer {
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const wire = Buffer.allocUnsafe(head + length)
  wire[0] = first
  if (head === 2) {
    wire[1] = length
  } else if (head === 4) {
    wire[1] = 126
    wire.writeUInt16BE(length, 2)
  } else {
    wire[1] = 127
    wire.writeUInt32BE(0, 2)
    wire.writeUInt32BE(length, 6)
  }
  fill(wire, head)
  return wire
}

/** One message of bytes as the bytes of an unmasked WebSocket frame. */
export function toBinaryFrame(bytes: Uint8Array): Buffer {
  // FIN and the opcode of bytes.
  return framed(0x82, bytes.length, (wire, head) => wire.set(bytes, head))
}

/** A ping of WebSocket itself, without payload. */
export const PING_FRAME: Buffer = Buffer.from([0x89, 0x00])

/** How often those that are behind are looked at. */
const SLOW_LOOK_MS = 1_000

/** Flushes every outbox that got something in this turn of the event loop, at its end; keeps an eye on those that are behind. */
export class Flusher {
  #dirty: Outbox[] = []
  #scheduled = false
  readonly #behind = new Set<Outbox>()
  readonly #timer: NodeJS.Timeout
  /** Characters up to which frames are joined: at three bytes each never more than `maxMessageBytes`. */
  readonly joinChars: number
  /** Bytes waiting for a socket that end it at once. */
  readonly hardLimitBytes: number
  readonly #waitingLimitBytes: number
  #waitingBytes = 0

  /** @param waitingBytes that may wait for all sockets together */
  constructor(maxMessageBytes: number, waitingBytes = WAITING_BYTES) {
    this.#waitingLimitBytes = waitingBytes
    this.hardLimitBytes = HARD_LIMIT_BYTES + maxMessageBytes
    this.joinChars = Math.min(JOIN_CHARS, Math.floor(maxMessageBytes / 3))
    this.#timer = setInterval(() => this.#look(Date.now()), SLOW_LOOK_MS)
    this.#timer.unref()
  }

  /** Bytes waiting for a socket beyond which it is behind, now. */
  get behindBytes(): number {
    const left = (this.#waitingLimitBytes - this.#waitingBytes) / PART
    return Math.max(BEHIND_LEAST_BYTES, Math.min(BEHIND_BYTES, left))
  }

  /** Bytes waiting for all sockets, as far as they count. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** More waits for one socket, or (below 0) less. */
  count(bytes: number): void {
    this.#waitingBytes += bytes
  }

  add(outbox: Outbox): void {
    this.#dirty.push(outbox)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** Writes what waits, without waiting for the end of the turn. */
  flush(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const one of dirty) one.flush()
  }

  watch(outbox: Outbox): void {
    this.#behind.add(outbox)
  }

  #look(now: number): void {
    // Each may come back by what the look itself causes.
    const behind = [...this.#behind]
    this.#behind.clear()
    for (const outbox of behind) if (outbox.checkBehind(now)) this.#behind.add(outbox)
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

/**
 * What waits for one socket. Frames of one turn become one WebSocket message and one write; a frame built for many
 * sockets is written as it is, in its place.
 */
export class Outbox {
  readonly #webSocket: WebSocket
  readonly #socket: Socket
  readonly #flusher: Flusher
  readonly #onDrain: () => void
  readonly #onSlow: () => void
  readonly #translate: ((text: string) => readonly Buffer[]) | null
  #texts: string[] = []
  #chars = 0
  #chunks: Buffer[] = []
  #bytes = 0
  #dirty = false
  /** Since when nothing was read by a peer that is behind, in milliseconds; 0: it is not. */
  #stuckSince = 0
  /** Bytes that the kernel has taken when that was last looked at, and those of the write under way that it has not. */
  #taken = 0
  #queued = 0
  /** What of this the flusher counts. */
  #counted = 0
  /** Messages pushed, less the answers taken for them. */
  #answers = 0
  /** When something was last sent, in milliseconds. */
  lastSentAt: number

  /** @param translate what is pushed as complete WebSocket frames; null: as text */
  constructor(
    webSocket: WebSocket,
    flusher: Flusher,
    now: number,
    onDrain: () => void,
    onSlow: () => void,
    translate: ((text: string) => readonly Buffer[]) | null = null,
  ) {
    this.#translate = translate
    this.#webSocket = webSocket
    // ws hands the socket's frames to this very object; writing to it directly saves a copy and a call a message.
    this.#socket = (webSocket as unknown as { _socket: Socket })._socket
    this.#flusher = flusher
    this.#onDrain = onDrain
    this.#onSlow = onSlow
    this.lastSentAt = now
    this.#socket.on('drain', () => {
      this.#count()
      onDrain()
    })
    this.#socket.once('close', () => this.#count())
  }

  /** Tells the flusher what waits for this socket now. */
  #count(): void {
    const waiting = this.#socket.destroyed ? 0 : this.#socket.writableLength
    const counted = waiting > COUNTED_BYTES ? waiting : 0
    if (counted !== this.#counted) this.#flusher.count(counted - this.#counted)
    this.#counted = counted
  }

  push(text: string): void {
    if (this.#translate) {
      for (const wire of this.#translate(text)) this.pushWire(wire)
      return
    }
    if (this.#chars > 0 && this.#chars + text.length > this.#flusher.joinChars) this.#join()
    this.#texts.push(text)
    this.#chars += text.length + 1
    this.#mark()
  }

  /** A message: its client may answer it. */
  pushMessage(text: string): void {
    if (this.#answers < ANSWERS_MAX) this.#answers++
    this.push(text)
  }

  /** Whether a message was pushed that no answer was taken for yet; now one is. */
  takeAnswer(): boolean {
    if (this.#answers === 0) return false
    this.#answers--
    return true
  }

  /** A message that many sockets get, made once for all that take it as it is. */
  pushShared(shared: { readonly text: string; readonly wire: Buffer }): void {
    if (this.#answers < ANSWERS_MAX) this.#answers++
    if (this.#translate) this.push(shared.text)
    else this.pushWire(shared.wire)
  }

  /** @param wire from {@link toWireFrame} or {@link toBinaryFrame} */
  pushWire(wire: Buffer): void {
    this.#join()
    this.#add(wire)
    this.#mark()
  }

  #add(wire: Buffer): void {
    this.#chunks.push(wire)
    this.#bytes += wire.length
  }

  #mark(): void {
    // Not at the end of the turn, which may be long: the limit has to see it.
    if (this.#bytes > BEHIND_BYTES) this.flush()
    if (this.#dirty) return
    this.#dirty = true
    this.#flusher.add(this)
  }

  #join(): void {
    if (this.#texts.length === 0) return
    this.#add(toWireFrame(this.#texts.length === 1 ? (this.#texts[0] ?? '') : this.#texts.join('\n')))
    this.#texts = []
    this.#chars = 0
  }

  /** Writes all that waits, at once. */
  flush(): void {
    this.#dirty = false
    this.#join()
    const chunks = this.#chunks
    this.#chunks = []
    this.#bytes = 0
    if (chunks.length === 0 || this.#webSocket.readyState !== WebSocket.OPEN) return
    this.lastSentAt = Date.now()
    if (chunks.length === 1 && chunks[0]) {
      this.#socket.write(chunks[0])
    } else {
      this.#socket.cork()
      for (const chunk of chunks) this.#socket.write(chunk)
      this.#socket.uncork()
    }
    this.#count()
    const waiting = this.#socket.writableLength
    if (waiting > this.#flusher.behindBytes) this.watch()
    if (waiting > this.#flusher.hardLimitBytes) this.#onSlow()
  }

  /** From now on it is looked at every second whether it is still behind, and whether its peer reads. */
  watch(): void {
    if (this.#stuckSince !== 0) return
    this.#stuckSince = Date.now()
    this.#look()
    this.#flusher.watch(this)
  }

  /** Whether the kernel has taken anything since the last look. */
  #look(): boolean {
    const socket = this.#socket
    const taken = socket.bytesWritten - socket.writableLength
    // What Node itself looks at to tell a slow write from a dead one: a single write may be many megabytes.
    const queued =
      (socket as unknown as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
    const moved = taken > this.#taken || queued < this.#queued
    this.#taken = taken
    this.#queued = queued
    return moved
  }

  /** Too much waits for this socket: push nothing stored to it. */
  get behind(): boolean {
    return this.#socket.writableLength + this.#bytes + this.#chars > this.#flusher.behindBytes
  }

  /** Whether it is still behind; one whose peer has not read a byte for 10 s is told to its connection. */
  checkBehind(now: number): boolean {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return false
    this.#count()
    if (this.#socket.writableLength <= this.#flusher.behindBytes) {
      this.#stuckSince = 0
      // It may stay so for long without ever being empty, which is what the socket tells.
      this.#onDrain()
      return false
    }
    if (this.#look()) this.#stuckSince = now
    if (now - this.#stuckSince >= SLOW_MS) this.#onSlow()
    return true
  }
}
