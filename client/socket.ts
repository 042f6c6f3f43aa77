import type { Scope } from './scope.ts'

/** What happens on a socket, told in this order: `opened` once, `text` any number of times, `closed` once. */
export interface SocketListener {
  opened(): void
  text(data: string): void
  /**
   * `code` is 1006 where no close frame came (refused, cut off); `reason` is for people. `retryAfterMs`: the handshake was refused
   * with 503 or 429, and this is when to come back; a browser never tells.
   */
  closed(code: number, reason: string, retryAfterMs?: number): void
}

/** One WebSocket, as little of it as the client needs. */
export interface Socket {
  send(text: string): void
  /** Sends what is written, then closes; `closed` follows. */
  close(code: number, reason: string): void
  /** Lets go of it at once: the listener is not called any more. */
  abandon(): void
}

/** What differs between a browser and Node. */
export interface Platform {
  /** Whether the token has to travel in `hello`, because this platform's sockets can't carry headers. */
  readonly tokenInHello: boolean
  readonly scope: Scope
  /** Opens a socket that offers the subprotocol `meshwire.v1`. Throws where `url` can't be used at all. */
  open(url: string, token: string | null, listener: SocketListener): Socket
  /** Runs `task` once, after what is under way in this turn of the event loop. Not slowed down in hidden tabs, as timers are. */
  defer(task: () => void): void
  /**
   * Calls `woke` when the machine or page seems to be back, `atOnce` where that is no news to a whole network; `putAway` when the
   * page is about to be frozen or kept for going back. Answers how to stop that.
   */
  onWake(woke: (atOnce: boolean) => void, putAway: () => void): () => void
}
