interface Line<Item> {
  readonly items: Item[]
  /** Items that were taken and hold the line up. */
  busy: number
}

/**
 * Items in lines: of each line one at a time, in order (the next one where the one before has stepped aside); of all lines as
 * many as the caller takes, in turn. A line is forgotten when it is empty and at rest.
 */
export class Lines<Item> {
  readonly #lines = new Map<string, Line<Item>>()
  /** Lines at rest with something waiting, the one that has waited longest first. */
  readonly #ready = new Set<string>()
  #waiting = 0

  /** Items that nobody took yet. */
  get waiting(): number {
    return this.#waiting
  }

  add(key: string, item: Item): void {
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { items: [], busy: 0 }
      this.#lines.set(key, line)
    }
    line.items.push(item)
    this.#waiting++
    if (line.busy === 0) this.#ready.add(key)
  }

  /** The next item, its line then busy until `done(key)`; undefined where every line is busy or empty. */
  take(): { readonly key: string; readonly item: Item } | undefined {
    const next = this.#ready.keys().next()
    if (next.done === true) return undefined
    const key = next.value
    this.#ready.delete(key)
    const line = this.#lines.get(key) as Line<Item>
    line.busy++
    this.#waiting--
    return { key, item: line.items.shift() as Item }
  }

  /** What was taken does not hold its line up any more. */
  done(key: string): void {
    const line = this.#lines.get(key)
    if (line === undefined || --line.busy > 0) return
    if (line.items.length > 0) this.#ready.add(key)
    else this.#lines.delete(key)
  }

  /** What was taken, and was `done`, holds its line up once more. */
  hold(key: string): void {
    const line = this.#lines.get(key)
    if (line === undefined) this.#lines.set(key, { items: [], busy: 1 })
    else line.busy++
    this.#ready.delete(key)
  }

  /** Takes the waiting items of a line out. */
  drop(key: string): void {
    const line = this.#lines.get(key)
    if (line === undefined) return
    this.#waiting -= line.items.splice(0).length
    this.#ready.delete(key)
    if (line.busy === 0) this.#lines.delete(key)
  }

  /** Takes out every waiting item. */
  clear(): Item[] {
    const items = [...this.#lines.values()].flatMap((line) => line.items.splice(0))
    this.#ready.clear()
    this.#waiting = 0
    for (const [key, line] of this.#lines) if (line.busy === 0) this.#lines.delete(key)
    return items
  }
}
