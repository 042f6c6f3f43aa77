/** How long those that come back are told from those that are new. */
const REMEMBERED_MS = 60_000

/** When agents were first registered (ms), as this hub knew it before the store lost its data; for a while. */
export class FormerAgents {
  #registeredAt: ReadonlyMap<string, number> = new Map()
  #until = 0

  remember(registeredAt: ReadonlyMap<string, number>): void {
    this.#registeredAt = registeredAt
    this.#until = Date.now() + REMEMBERED_MS
  }

  registeredAt(agentId: string): number | null {
    return Date.now() < this.#until ? (this.#registeredAt.get(agentId) ?? null) : null
  }

  /** Gives the memory back that nobody is told from any more. */
  tidy(): void {
    if (Date.now() >= this.#until && this.#registeredAt.size > 0) this.#registeredAt = new Map()
  }
}
