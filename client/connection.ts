import { decode } from '../protocol/codec.ts'
import { shouldReconnect } from '../protocol/close-codes.ts'
import { MeshError } from '../protocol/errors.ts'
import type { Push } from '../protocol/pushes.ts'
import type { Reply, Welcome } from '../protocol/replies.ts'
import { closeError, timeoutError } from './errors.ts'
import { createHeartbeat } from './heartbeat.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Platform } from './socket.ts'
import { endingOf } from './state.ts'
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
export interface Connection {
  /** Writes a frame's text with the others of this turn. Only once welcomed; otherwise it is dropped. */
  write(line: Line): void
  /** The machine came back: is the hub still there? Asks it, and gives up on it if it stays silent. */
  probe(): void
  /** Sends what is written, closes, and does not listen any more. The hub sees a connection lost. */
  close(): Promise<void>
  /** Lets go of the socket at once. */
  leave(): void
}

/** Throws what the platform throws for a URL it can't use. */
export function createConnection(
  platform: Platform,
  { url, token, hello, timeoutMs }: Dial,
  listener: ConnectionListener,
): Connection {
  let phase: 'connecting' | 'greeting' | 'open' | 'closing' | 'over' = 'connecting'
  let writer: Writer | undefined
  let heartbeat: Heartbeat | undefined
  let onClosed: (() => void) | undefined

  const socket = platform.open(url, token, {
    opened() {
      if (phase !== 'connecting') return
      phase = 'greeting'
      send(JSON.stringify({ type: 'hello', ref: HELLO_REF, ...hello }))
      listener.connected()
    },
    text(text) {
      if (phase !== 'greeting' && phase !== 'open') return
      heartbeat?.heard()
      let frames: Record<string, unknown>[]
      try {
        frames = decode(text)
      } catch (error) {
        return end(endingOf('broken', error as Error))
      }
      for (const frame of frames) heard(frame as unknown as Reply | Push)
    },
    closed(code, reason, retryAfterMs) {
      if (phase === 'closing') return leave()
      end({
        reason: retryAfterMs === undefined ? 'closed' : 'busy',
        code,
        error: closeError(code, reason),
        final: !shouldReconnect(code),
        retryAfterMs: retryAfterMs ?? null,
      })
    },
  })
  const timer = setTimeout(
    () => end(endingOf('timeout', timeoutError(`connecting to ${url}`, timeoutMs))),
    timeoutMs,
  )

  const send = (text: string): void => socket.send(text)
  const defer = (task: () => void): void => platform.defer(task)

  function heard(frame: Reply | Push): void {
    if (phase === 'greeting') return answered(frame)
    if (phase !== 'open') return
    // Not through the writer: a pong must not wait for anything (PROTOCOL.md section 3).
    if (frame.type === 'ping') send('{"type":"pong"}')
    listener.frame(frame)
  }

  function answered(frame: Reply | Push): void {
    if (frame.type === 'welcome') {
      const { hub, heartbeat: limits } = frame
      const silent = (): void =>
        end(endingOf('silent', timeoutError(`hub ${hub}`, limits.intervalMs + limits.timeoutMs)))
      clearTimeout(timer)
      phase = 'open'
      writer = createWriter(send, defer, frame.limits.maxMessageBytes)
      heartbeat = createHeartbeat(limits, silent)
      listener.welcomed(frame)
    } else if (frame.type === 'error') {
      const error = MeshError.fromBody(frame.error)
      end(endingOf('refused', error, { final: !error.retryable, retryAfterMs: error.retryAfterMs }))
    }
  }

  function stop(): void {
    clearTimeout(timer)
    heartbeat?.stop()
    writer?.clear()
    writer = undefined
  }

  function leave(): void {
    if (phase === 'over') return
    stop()
    phase = 'over'
    socket.abandon()
    onClosed?.()
  }

  function end(ending: Ending): void {
    if (phase === 'over') return
    leave()
    listener.ended(ending)
  }

  return {
    write: (line) => writer?.write(line),
    probe() {
      if (phase !== 'open' || heartbeat?.check() !== true) return
      heartbeat.probing()
      send('{"type":"ping"}')
    },
    async close() {
      if (phase === 'over' || phase === 'closing') return
      if (phase !== 'open') return leave()
      writer?.flush()
      stop()
      phase = 'closing'
      const closed = new Promise<void>((resolve) => (onClosed = resolve))
      const late = setTimeout(leave, CLOSE_HANDSHAKE_MS)
      socket.close(1000, 'leaving')
      await closed
      clearTimeout(late)
    },
    leave,
  }
}
