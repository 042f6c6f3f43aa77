/** What no handler takes: waits for one, and is given up when that takes too long. */
export class Unhandled<Item> {
  /** When each is given up, in milliseconds since 1970; Infinity: never. */
  readonly #dueAt = new Map<Item, number>()
  readonly #giveUp: (item: Item) => void
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(giveUp: (item: Item) => void) {
    this.#giveUp = giveUp
  }

  get size(): number {
    return this.#dueAt.size
  }

  has(item: Item): boolean {
    return this.#dueAt.has(item)
  }

  add(item: Item, waitMs: number): void {
    this.#dueAt.set(item, Date.now() + waitMs)
    this.#schedule()
  }

  delete(item: Item): void {
    this.#dueAt.delete(item)
  }

  /** Takes all of them. */
  take(): Item[] {
    const items = [...this.#dueAt.keys()]
    this.#dueAt.clear()
    return items
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #schedule(): void {
    this.stop()
    const next = Math.min(...this.#dueAt.values())
    if (next === Infinity) return
    this.#timer = setTimeout(() => this.#look(), Math.max(1, next - Date.now()))
  }

  #look(): void {
    const now = Date.now()
    for (const [item, dueAt] of this.#dueAt) {
      if (dueAt > now) continue
      this.#dueAt.delete(item)
      this.#giveUp(item)
    }
    this.#schedule()
  }
}
