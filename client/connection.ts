import { decode } from '../protocol/codec.ts'
import { shouldReconnect } from '../protocol/close-codes.ts'
import { MeshError } from '../protocol/errors.ts'
import type { Push } from '../protocol/pushes.ts'
import type { Reply, Welcome } from '../protocol/replies.ts'
import { closeError, timeoutError } from './errors.ts'
import { createHeartbeat } from './heartbeat.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Platform, Socket } from './socket.ts'
import type { Ending } from './state.ts'
import { createWriter } from './writer.ts'
import type { Line, Writer } from './writer.ts'

/** Milliseconds for the closing handshake before the socket is simply dropped. */
const CLOSE_HANDSHAKE_MS = 1000
const HELLO_REF = 'hello'

/** What a connection needs to come about. */
export interface Dial {
  readonly url: string
  readonly token: string | null
  /** The fields of `hello` besides `type` and `ref`. */
  readonly hello: Readonly<Record<string, unknown>>
  /** Milliseconds for socket and handshake together. */
  readonly timeoutMs: number
}

/** Told in the order `connected`, `welcomed`, `frame`s; `ended` at most once and last. Nothing after `leave` or `close`. */
export interface ConnectionListener {
  connected(): void
  welcomed(welcome: Welcome): void
  frame(frame: Reply | Push): void
  ended(ending: Ending): void
}

/** One socket's life: dial → hello → welcome → frames → end. Answers pings itself and notices a silent hub. */
export class Connection {
  readonly #dial: Dial
  readonly #listener: ConnectionListener
  readonly #socket: Socket
  readonly #defer: Platform['defer']
  readonly #timer: ReturnType<typeof setTimeout>
  #phase: 'connecting' | 'greeting' | 'open' | 'closing' | 'over' = 'connecting'
  #writer: Writer | null = null
  #heartbeat: Heartbeat | null = null
  #onClosed: (() => void) | null = null

  /** Throws what the platform throws for a URL it can't use. */
  constructor(platform: Platform, dial: Dial, listener: ConnectionListener) {
    this.#dial = dial
    this.#listener = listener
    this.#defer = (task) => platform.defer(task)
    this.#socket = platform.open(dial.url, dial.token, {
      opened: () => this.#opened(),
      text: (text) => this.#text(text),
      closed: (code, reason, retryAfterMs) => this.#closed(code, reason, retryAfterMs),
    })
    this.#timer = setTimeout(
      () => this.#giveUp('timeout', timeoutError(`connecting to ${dial.url}`, dial.timeoutMs)),
      dial.timeoutMs,
    )
  }

  /** Writes a frame's text with the others of this turn. Only once welcomed; otherwise it is dropped. */
  write(line: Line): void {
    this.#writer?.write(line)
  }

  /** The machine came back: is the hub still there? Asks it, and gives up on it if it stays silent. */
  probe(): void {
    if (this.#phase !== 'open' || this.#heartbeat?.check() !== true) return
    this.#heartbeat.probing()
    this.#socket.send('{"type":"ping"}')
  }

  /** Sends what is written, closes, and does not listen any more. The hub sees a connection lost. */
  async close(): Promise<void> {
    if (this.#phase === 'over' || this.#phase === 'closing') return
    if (this.#phase !== 'open') return this.leave()
    this.#writer?.flush()
    this.#stop()
    this.#phase = 'closing'
    const closed = new Promise<void>((resolve) => (this.#onClosed = resolve))
    const timer = setTimeout(() => this.leave(), CLOSE_HANDSHAKE_MS)
    this.#socket.close(1000, 'leaving')
    await closed
    clearTimeout(timer)
  }

  /** Lets go of the socket at once. */
  leave(): void {
    if (this.#phase === 'over') return
    this.#stop()
    this.#phase = 'over'
    this.#socket.abandon()
    this.#onClosed?.()
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#heartbeat?.stop()
    this.#writer?.clear()
    this.#writer = null
  }

  #opened(): void {
    if (this.#phase !== 'connecting') return
    this.#phase = 'greeting'
    this.#socket.send(JSON.stringify({ type: 'hello', ref: HELLO_REF, ...this.#dial.hello }))
    this.#listener.connected()
  }

  #text(text: string): void {
    if (this.#phase !== 'greeting' && this.#phase !== 'open') return
    this.#heartbeat?.heard()
    let frames: Record<string, unknown>[]
    try {
      frames = decode(text)
    } catch (error) {
      this.#giveUp('broken', error as Error)
      return
    }
    for (const frame of frames) this.#frame(frame as unknown as Reply | Push)
  }

  #frame(frame: Reply | Push): void {
    if (this.#phase === 'greeting') this.#answered(frame)
    else if (this.#phase !== 'open') return
    // Not through the writer: a pong must not wait for anything (PROTOCOL.md section 3).
    else {
      if (frame.type === 'ping') this.#socket.send('{"type":"pong"}')
      this.#listener.frame(frame)
    }
  }

  #answered(frame: Reply | Push): void {
    if (frame.type === 'welcome') {
      clearTimeout(this.#timer)
      this.#phase = 'open'
      this.#writer = createWriter(
        (text) => this.#socket.send(text),
        this.#defer,
        frame.limits.maxMessageBytes,
      )
      this.#heartbeat = createHeartbeat(frame.heartbeat, () => this.#silent(frame))
      this.#listener.welcomed(frame)
    } else if (frame.type === 'error') {
      const error = MeshError.fromBody(frame.error)
      this.#end({
        reason: 'refused',
        code: null,
        error,
        final: !error.retryable,
        retryAfterMs: error.retryAfterMs,
      })
    }
  }

  #silent({ hub, heartbeat }: Welcome): void {
    this.#giveUp('silent', timeoutError(`hub ${hub}`, heartbeat.intervalMs + heartbeat.timeoutMs))
  }

  #closed(code: number, reason: string, retryAfterMs?: number): void {
    if (this.#phase === 'closing') return this.leave()
    this.#end({
      reason: retryAfterMs === undefined ? 'closed' : 'busy',
      code,
      error: closeError(code, reason),
      final: !shouldReconnect(code),
      retryAfterMs: retryAfterMs ?? null,
    })
  }

  #giveUp(reason: 'silent' | 'timeout' | 'broken', error: Error): void {
    this.#end({ reason, code: null, error, final: false, retryAfterMs: null })
  }

  #end(ending: Ending): void {
    if (this.#phase === 'over') return
    this.leave()
    this.#listener.ended(ending)
  }
}
