interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void
  readonly reject: (error: Error) => void
}

const DONE = { done: true, value: undefined } as const

/**
 * A bounded queue that is read as an async iterable, by one reader. What is put in while it is full makes `overflow` decide:
 * it gets the items that wait and answers what waits from then on (at most `max` of it, the newest).
 */
export class Feed<T> implements AsyncIterableIterator<T, undefined> {
  readonly #max: number
  readonly #overflow: (items: readonly T[]) => T[]
  readonly #onReturn: () => void
  #items: T[] = []
  readonly #waiters: Waiter<T>[] = []
  #ended = false
  #error: Error | null = null

  constructor(max: number, overflow: (items: readonly T[]) => T[], onReturn: () => void) {
    this.#max = max
    this.#overflow = overflow
    this.#onReturn = onReturn
  }

  /** Items that nobody has read. */
  get size(): number {
    return this.#items.length
  }

  push(item: T): void {
    if (this.#ended) return
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: item })
      return
    }
    this.#items.push(item)
    if (this.#items.length > this.#max) this.#items = this.#overflow(this.#items).slice(-this.#max)
  }

  /** Replaces all that waits by `item`. */
  restart(item: T): void {
    this.#items = []
    this.push(item)
  }

  /** Ends it: what waits is still read, then it is done or, with an error, throws that once. */
  end(error: Error | null): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    for (const waiter of this.#waiters.splice(0)) this.#finish(waiter)
  }

  #finish(waiter: Waiter<T>): void {
    const error = this.#error
    this.#error = null
    if (error === null) waiter.resolve(DONE)
    else waiter.reject(error)
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject }
      if (this.#items.length > 0) resolve({ done: false, value: this.#items.shift() as T })
      else if (this.#ended) this.#finish(waiter)
      else this.#waiters.push(waiter)
    })
  }

  /** The reader leaves: what waits is dropped. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = []
    this.#error = null
    this.end(null)
    this.#onReturn()
    return Promise.resolve(DONE)
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
