import type { Socket } from 'node:net'
import { WebSocket } from 'ws'

/** Bytes waiting for a socket beyond which nothing stored is pushed, and which for 10 s mean: it does not read. */
export const BEHIND_BYTES = 1_048_576
/** Bytes waiting for a socket, besides one message of the largest size, that end it at once, whatever they are made of. */
const HARD_LIMIT_BYTES = 16 * BEHIND_BYTES
/** Characters up to which frames are joined: more in one message saves nothing. */
const JOIN_CHARS = 65_536
/** How long a socket may stay behind. */
const SLOW_MS = 10_000

/** One text message as the bytes of an unmasked WebSocket frame (RFC 6455, 5.2), for one or for many sockets, written once. */
export function toWireFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const wire = Buffer.allocUnsafe(head + length)
  // FIN and the opcode of a text.
  wire[0] = 0x81
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
  wire.write(text, head)
  return wire
}

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

  constructor(maxMessageBytes: number) {
    this.hardLimitBytes = HARD_LIMIT_BYTES + maxMessageBytes
    this.joinChars = Math.min(JOIN_CHARS, Math.floor(maxMessageBytes / 3))
    this.#timer = setInterval(() => this.#look(Date.now()), SLOW_LOOK_MS)
    this.#timer.unref()
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
  #texts: string[] = []
  #chars = 0
  #chunks: Buffer[] = []
  #bytes = 0
  #dirty = false
  #behindSince = 0
  /** When something was last sent, in milliseconds. */
  lastSentAt: number

  constructor(webSocket: WebSocket, flusher: Flusher, now: number, onDrain: () => void, onSlow: () => void) {
    this.#webSocket = webSocket
    // ws hands the socket's frames to this very object; writing to it directly saves a copy and a call a message.
    this.#socket = (webSocket as unknown as { _socket: Socket })._socket
    this.#flusher = flusher
    this.#onDrain = onDrain
    this.#onSlow = onSlow
    this.lastSentAt = now
    this.#socket.on('drain', onDrain)
  }

  push(text: string): void {
    if (this.#chars > 0 && this.#chars + text.length > this.#flusher.joinChars) this.#join()
    this.#texts.push(text)
    this.#chars += text.length + 1
    this.#mark()
  }

  /** @param wire from {@link toWireFrame} */
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
    const waiting = this.#socket.writableLength
    if (waiting > BEHIND_BYTES) this.watch()
    if (waiting > this.#flusher.hardLimitBytes) this.#onSlow()
  }

  /** From now on it is looked at every second whether it is still behind. */
  watch(): void {
    if (this.#behindSince !== 0) return
    this.#behindSince = Date.now()
    this.#flusher.watch(this)
  }

  /** Too much waits for this socket: push nothing stored to it. */
  get behind(): boolean {
    return this.#socket.writableLength + this.#bytes + this.#chars > BEHIND_BYTES
  }

  /** Whether it is still behind; one that has been for 10 s is told to its connection. */
  checkBehind(now: number): boolean {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return false
    if (this.#socket.writableLength <= BEHIND_BYTES) {
      this.#behindSince = 0
      // It may stay so for long without ever being empty, which is what the socket tells.
      this.#onDrain()
      return false
    }
    if (now - this.#behindSince >= SLOW_MS) this.#onSlow()
    return true
  }
}
