/** Items numbered from 1 in the order they came, from which any may be taken out. They mostly leave at the front, which costs the same however many there are. */
export class SparseLog<Item> {
  readonly #items = new Map<number, Item>()
  #head = 0
  // No item lies below it.
  #floor = 1

  get size(): number {
    return this.#items.size
  }

  /** The last number given; 0 before the first. */
  get head(): number {
    return this.#head
  }

  /** The lowest number of an item; `head + 1` where there is none. */
  get first(): number {
    if (this.#items.size === 0) this.#floor = this.#head + 1
    while (this.#floor <= this.#head && !this.#items.has(this.#floor)) this.#floor += 1
    return this.#floor
  }

  /** `number` must be the one after `head`. */
  append(number: number, item: Item): void {
    this.#head = number
    this.#items.set(number, item)
  }

  get(number: number): Item | undefined {
    return this.#items.get(number)
  }

  /** Answers whether it was there. */
  delete(number: number): boolean {
    return this.#items.delete(number)
  }

  /** In order. */
  values(): IterableIterator<Item> {
    return this.#items.values()
  }

  /** The items numbered above `after`, in order, at most `limit`. */
  after(after: number, limit: number): Item[] {
    const found: Item[] = []
    const from = Math.max(after + 1, this.first)
    // One old item may hold the floor far below the others: then walking the numbers would take longer than walking the items.
    if (this.#head - from < this.#items.size) {
      for (let number = from; number <= this.#head && found.length < limit; number += 1) {
        const item = this.#items.get(number)
        if (item !== undefined) found.push(item)
      }
      return found
    }
    for (const [number, item] of this.#items) {
      if (found.length >= limit) break
      if (number >= from) found.push(item)
    }
    return found
  }

  /** Takes everything out, in order. */
  clear(): Item[] {
    const items = [...this.#items.values()]
    this.#items.clear()
    return items
  }
}
