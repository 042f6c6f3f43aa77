type Step<T> = IteratorResult<T, undefined>

/** The end of what is iterated. */
export const DONE = { done: true, value: undefined } as const

/** A bounded queue that is read as an async iterable, by one reader. */
export interface Feed<T> extends AsyncIterableIterator<T, undefined> {
  /** Items that nobody has read. */
  readonly size: number
  push(item: T): void
  /** Replaces all that waits by `item`. */
  restart(item: T): void
  /** Ends it: what waits is still read, then it is done or, with an error, throws that once. */
  end(error?: Error | null): void
  next(): Promise<Step<T>>
  /** The reader leaves: what waits is dropped. */
  return(): Promise<Step<T>>
}

/**
 * A feed of at most `max` items. What is put in while it is full makes `overflow` decide: it gets the items that wait and answers
 * what waits from then on (at most `max` of it, the newest). `onReturn`: its reader has left.
 */
export function createFeed<T>(
  max: number,
  onReturn?: () => void,
  overflow = (items: T[]): T[] => items,
): Feed<T> {
  const readers: ((step: Step<T> | Promise<never>) => void)[] = []
  let items: T[] = []
  let ended = false
  let failure: Error | null | undefined

  /** What is read after the end: the error, once. */
  function last(): Step<T> | Promise<never> {
    const error = failure
    failure = undefined
    return error ? Promise.reject(error) : DONE
  }

  const feed: Feed<T> = {
    get size() {
      return items.length
    },
    push(item) {
      if (ended) return
      const reader = readers.shift()
      if (reader) return reader({ done: false, value: item })
      items.push(item)
      if (items.length > max) items = overflow(items).slice(-max)
    },
    restart(item) {
      items = []
      feed.push(item)
    },
    end(error) {
      if (ended) return
      ended = true
      failure = error
      for (const reader of readers.splice(0)) reader(last())
    },
    next: () =>
      new Promise((resolve) => {
        if (items.length > 0) resolve({ done: false, value: items.shift() as T })
        else if (ended) resolve(last())
        else readers.push(resolve)
      }),
    async return() {
      items = []
      failure = undefined
      feed.end()
      onReturn?.()
      return DONE
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
  return feed
}
