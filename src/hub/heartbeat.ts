/** What the wheel needs of a connection. */
export interface Beating {
  /** Milliseconds; any frame counts. */
  readonly lastHeardAt: number
  readonly lastSentAt: number
  /** The hub reads this socket no faster: its silence is the hub's. */
  readonly held: boolean
  ping(): void
  /** Nothing was heard for interval and timeout. */
  onSilence(): void
}

export interface HeartbeatTimes {
  readonly intervalMs: number
  readonly timeoutMs: number
}

/** Enough for the default interval and timeout; a later look takes several rounds. */
const SLOTS = 1_024
/** Often, so that the pings of thousands of connections are spread evenly instead of holding up everything else once a second. */
const TICK_MAX_MS = 50

/**
 * When each connection is looked at: one wheel for all, one timer. A connection is in the slot of its next look; a look that
 * comes too early puts it into a later slot.
 */
export class Heartbeat {
  readonly #times: HeartbeatTimes
  readonly #tickMs: number
  readonly #slots: Set<Beating>[] = Array.from({ length: SLOTS }, () => new Set())
  readonly #slotOf = new Map<Beating, number>()
  readonly #pingedAt = new WeakMap<Beating, number>()
  readonly #timer: NodeJS.Timeout
  #position = 0

  constructor(times: HeartbeatTimes) {
    this.#times = times
    // Fine enough for the timeout to be kept to a tenth.
    this.#tickMs = Math.max(
      10,
      Math.min(TICK_MAX_MS, Math.floor(Math.min(times.intervalMs, times.timeoutMs) / 10)),
    )
    this.#timer = setInterval(() => this.#tick(Date.now()), this.#tickMs)
    this.#timer.unref()
  }

  add(connection: Beating): void {
    this.#place(connection, this.#spread())
  }

  remove(connection: Beating): void {
    const slot = this.#slotOf.get(connection)
    if (slot === undefined) return
    this.#slots[slot]?.delete(connection)
    this.#slotOf.delete(connection)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** The interval ±10 %, so that connections made at once are not pinged at once. */
  #spread(): number {
    return this.#times.intervalMs * (0.9 + Math.random() * 0.2)
  }

  #place(connection: Beating, inMs: number): void {
    this.remove(connection)
    const ticks = Math.max(1, Math.min(SLOTS - 1, Math.round(inMs / this.#tickMs)))
    const slot = (this.#position + ticks) % SLOTS
    this.#slots[slot]?.add(connection)
    this.#slotOf.set(connection, slot)
  }

  #tick(now: number): void {
    this.#position = (this.#position + 1) % SLOTS
    const due = this.#slots[this.#position]
    if (!due) return
    for (const connection of [...due]) this.#look(connection, now)
  }

  #look(connection: Beating, now: number): void {
    const { intervalMs, timeoutMs } = this.#times
    const silentMs = connection.held ? 0 : now - connection.lastHeardAt
    const idleMs = Math.max(silentMs, now - connection.lastSentAt)
    const pingedAt = this.#pingedAt.get(connection) ?? 0
    if (pingedAt > connection.lastHeardAt) {
      // Not only by the silence: a hub that was stopped for a while has asked nobody meanwhile.
      const leftMs = Math.max(intervalMs + timeoutMs - silentMs, timeoutMs - (now - pingedAt))
      if (leftMs > 0) this.#place(connection, leftMs)
      else this.#drop(connection, pingedAt)
    } else if (idleMs >= intervalMs * 0.9) {
      this.#pingedAt.set(connection, now)
      connection.ping()
      this.#place(connection, Math.max(timeoutMs, intervalMs + timeoutMs - silentMs))
    } else {
      this.#place(connection, this.#spread() - idleMs)
    }
  }

  /** After what has arrived is read: an answer may wait unread where the hub itself was late. */
  #drop(connection: Beating, pingedAt: number): void {
    this.#place(connection, this.#spread())
    setImmediate(() => {
      if (!this.#slotOf.has(connection) || connection.lastHeardAt >= pingedAt) return
      this.remove(connection)
      connection.onSilence()
    })
  }
}
