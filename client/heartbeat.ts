/** How a hub's silence is judged, in milliseconds (`welcome.heartbeat`). */
export interface HeartbeatLimits {
  readonly intervalMs: number
  readonly timeoutMs: number
}

export interface Heartbeat {
  heard(): void
  /** A ping was sent: something has to be heard within `timeoutMs`. */
  probing(): void
  /** Looks at the clock now. Answers whether the hub is still believed to be there. */
  check(): boolean
  stop(): void
}

/**
 * Tells when a hub has been silent for `intervalMs + timeoutMs` by the wall clock (PROTOCOL.md section 3). The clock is read
 * at each check, so a timer that comes late (hidden tab, laptop asleep) only delays the finding.
 */
export function createHeartbeat(
  { intervalMs, timeoutMs }: HeartbeatLimits,
  onSilence: () => void,
): Heartbeat {
  let heardAt = 0
  /** The hub has to be heard by then. */
  let dueAt = 0

  function heard(): void {
    heardAt = Date.now()
    dueAt = heardAt + intervalMs + timeoutMs
  }

  function check(): boolean {
    const now = Date.now()
    // The clock was set back.
    if (now < heardAt) heard()
    if (now <= dueAt) return true
    stop()
    onSilence()
    return false
  }

  const timer = setInterval(check, Math.max(10, Math.min(timeoutMs, intervalMs) / 4))
  const stop = (): void => clearInterval(timer)
  heard()
  return {
    heard,
    probing() {
      dueAt = Math.min(dueAt, Date.now() + timeoutMs)
    },
    check,
    stop,
  }
}
