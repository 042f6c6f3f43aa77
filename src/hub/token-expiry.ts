/** How often it is looked which tokens have ended. */
const LOOK_MS = 1_000

/** A connection whose token ends. */
export interface Expiring {
  /** Milliseconds since 1970; null: never. */
  readonly expiresAt: number | null
  onExpired(): void
}

/** Ends connections whose token has ended, a grace after it did, in which a client may send another one. One timer for all. */
export class TokenExpiry {
  readonly #graceMs: number
  readonly #now: () => number
  readonly #all = new Set<Expiring>()
  #timer: NodeJS.Timeout | null = null

  constructor(graceMs: number, now: () => number = Date.now) {
    this.#graceMs = graceMs
    this.#now = now
  }

  /** Looks after a connection from now on, if its token ends. */
  add(connection: Expiring): void {
    if (connection.expiresAt === null) {
      this.remove(connection)
      return
    }
    this.#all.add(connection)
    this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref()
  }

  remove(connection: Expiring): void {
    this.#all.delete(connection)
    if (this.#all.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  look(): void {
    const now = this.#now()
    for (const connection of this.#all)
      if (connection.expiresAt !== null && connection.expiresAt + this.#graceMs <= now) connection.onExpired()
  }

  close(): void {
    this.#all.clear()
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }
}
