/** An item of a {@link Schedule}. `slot` belongs to the schedule; -1 while the item is in none. */
export interface Scheduled {
  slot: number
}

/**
 * Items by the time they are due, or by another number: a binary heap whose items know their place, so that what was settled early is taken out at once
 * and never piles up.
 */
export class Schedule<Item extends Scheduled> {
  readonly #heap: Item[] = []
  readonly #timeOf: (item: Item) => number

  /** `timeOf`: milliseconds since 1970, or whatever else orders them; must not change while the item is scheduled. */
  constructor(timeOf: (item: Item) => number) {
    this.#timeOf = timeOf
  }

  /** The earliest; it stays. */
  get first(): Item | undefined {
    return this.#heap[0]
  }

  add(item: Item): void {
    this.remove(item)
    this.#heap.push(item)
    this.#rise(item, this.#heap.length - 1)
  }

  /** Nothing happens where the item is not scheduled. */
  remove(item: Item): void {
    const { slot } = item
    if (slot < 0) return
    item.slot = -1
    const last = this.#heap.pop()
    if (last === undefined || last === item) return
    this.#rise(last, slot)
    this.#sink(last, last.slot)
  }

  /** Takes out the earliest item that is due by `now`. */
  take(now: number): Item | undefined {
    const first = this.#heap[0]
    if (first === undefined || this.#timeOf(first) > now) return undefined
    this.remove(first)
    return first
  }

  /** Items due by `now`, at most `limit`, in no order; they stay. */
  due(now: number, limit: number): Item[] {
    const found: Item[] = []
    const slots = [0]
    while (found.length < limit) {
      const slot = slots.pop()
      if (slot === undefined) break
      const item = this.#heap[slot]
      // Below an item that is not due nothing is.
      if (item === undefined || this.#timeOf(item) > now) continue
      found.push(item)
      slots.push(2 * slot + 2, 2 * slot + 1)
    }
    return found
  }

  #rise(item: Item, from: number): void {
    const time = this.#timeOf(item)
    let slot = from
    while (slot > 0) {
      const parentSlot = (slot - 1) >> 1
      const parent = this.#heap[parentSlot]
      if (parent === undefined || this.#timeOf(parent) <= time) break
      this.#put(parent, slot)
      slot = parentSlot
    }
    this.#put(item, slot)
  }

  #sink(item: Item, from: number): void {
    const time = this.#timeOf(item)
    let slot = from
    for (;;) {
      let childSlot = 2 * slot + 1
      let child = this.#heap[childSlot]
      if (child === undefined) break
      const other = this.#heap[childSlot + 1]
      if (other !== undefined && this.#timeOf(other) < this.#timeOf(child)) {
        child = other
        childSlot += 1
      }
      if (this.#timeOf(child) >= time) break
      this.#put(child, slot)
      slot = childSlot
    }
    this.#put(item, slot)
  }

  #put(item: Item, slot: number): void {
    this.#heap[slot] = item
    item.slot = slot
  }
}
