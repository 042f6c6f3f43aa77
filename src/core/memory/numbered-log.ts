/** Items numbered without gaps, of which the latest `max` are kept (0: all of them). */
export class NumberedLog<Item> {
  readonly #max: number
  // A ring from the first number on.
  readonly #items: Item[] = []
  #origin = 0
  #count = 0
  #head = 0

  constructor(max: number) {
    this.#max = max
  }

  /** The last number given; 0 before the first. */
  get head(): number {
    return this.#head
  }

  /** The lowest number still kept; `head + 1` where there is none. */
  get first(): number {
    return this.#head - this.#count + 1
  }

  /** As if `number` had been given and its item dropped; only before the first item. */
  begin(number: number): void {
    this.#head = number
  }

  /** `number` must be the one after `head`, except for the first item. */
  append(number: number, item: Item): void {
    if (this.#count === 0) this.#origin = number
    this.#items[this.#slot(number)] = item
    this.#head = number
    if (this.#max === 0 || this.#count < this.#max) this.#count += 1
  }

  at(number: number): Item | undefined {
    return number < this.first || number > this.#head ? undefined : this.#items[this.#slot(number)]
  }

  /** What is kept of the items numbered above `number`, in order, at most `limit`. */
  after(number: number, limit: number): Item[] {
    const found: Item[] = []
    for (let next = Math.max(number + 1, this.first); next <= this.#head && found.length < limit; next += 1) {
      const item = this.#items[this.#slot(next)]
      if (item !== undefined) found.push(item)
    }
    return found
  }

  #slot(number: number): number {
    const place = number - this.#origin
    return this.#max === 0 ? place : place % this.#max
  }
}
