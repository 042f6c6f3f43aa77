/** A connection that lasted this long (milliseconds) was good: the next failure counts as the first (PROTOCOL.md section 8). */
export const GOOD_AFTER_MS = 10_000

/**
 * Milliseconds to wait before reconnecting try number `attempt` (1 is the first after a good connection): `random(0, 1 s)`,
 * then `0.25 s + random(0, min(15 s, 1 s × 2^n))`. `random` is from 0 to 1.
 */
export function reconnectDelay(attempt: number, random: number): number {
  if (attempt <= 1) return random * 1000
  return 250 + random * Math.min(15_000, 1000 * 2 ** (attempt - 1))
}

/** Milliseconds to wait where a hub said when to come back: that long, and not all in the same instant. */
export function busyDelay(retryAfterMs: number, random: number): number {
  return retryAfterMs + random * 1000
}

/** Milliseconds to wait when the machine came back: soon, but not all clients of a network in the same instant. */
export function wakeDelay(random: number): number {
  return random * 1000
}

/** Milliseconds to wait before asking the same hub again, after failure number `attempt` (from 1), where it named no time. */
export function retryDelay(attempt: number, random: number): number {
  return Math.min(5000, 100 * 2 ** attempt) * (0.5 + random / 2)
}
