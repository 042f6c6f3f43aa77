/** How a hub's silence is judged, in milliseconds (`welcome.heartbeat`). */
export interface HeartbeatLimits {
  readonly intervalMs: number
  readonly timeoutMs: number
}

/**
 * Tells when a hub has been silent for `intervalMs + timeoutMs` by the wall clock (PROTOCOL.md section 3). The clock is read
 * at each check, so a timer that comes late (hidden tab, laptop asleep) only delays the finding.
 */
export class Heartbeat {
  readonly #limits: HeartbeatLimits
  readonly #onSilence: () => void
  readonly #timer: ReturnType<typeof setInterval>
  #heardAt = Date.now()
  /** An answer to a ping of ours is due by then. */
  #probeUntil = Infinity

  constructor(limits: HeartbeatLimits, onSilence: () => void) {
    this.#limits = limits
    this.#onSilence = onSilence
    const everyMs = Math.max(10, Math.min(limits.timeoutMs, limits.intervalMs) / 4)
    this.#timer = setInterval(() => this.check(), everyMs)
  }

  heard(): void {
    this.#heardAt = Date.now()
    this.#probeUntil = Infinity
  }

  /** A ping was sent: something has to be heard within `timeoutMs`. */
  probing(): void {
    this.#probeUntil = Math.min(this.#probeUntil, Date.now() + this.#limits.timeoutMs)
  }

  /** Looks at the clock now. Answers whether the hub is still believed to be there. */
  check(): boolean {
    const now = Date.now()
    const { intervalMs, timeoutMs } = this.#limits
    // The clock was set back.
    if (now < this.#heardAt) this.#heardAt = now
    if (now - this.#heardAt <= intervalMs + timeoutMs && now <= this.#probeUntil) return true
    this.stop()
    this.#onSilence()
    return false
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
