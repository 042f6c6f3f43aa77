interface Line<Item> {
  readonly items: Item[]
  /** Items that were taken and hold the line up. */
  busy: number
}

/**
 * Items in lines: of each line one at a time, in order (the next one where the one before has stepped aside); of all lines as
 * many as the caller takes, in turn. A line is forgotten when it is empty and at rest.
 */
export interface Lines<Item> {
  /** Items that nobody took yet. */
  readonly waiting: number
  add(key: string, item: Item): void
  /** The next item, its line then busy until `done` with the line's key; undefined where every line is busy or empty. */
  take(): { readonly key: string; readonly item: Item } | undefined
  /** What was taken does not hold its line up any more. */
  done(key: string): void
  /** What was taken, and was `done`, holds its line up once more. */
  hold(key: string): void
  /** Takes the waiting items of a line out. */
  drop(key: string): Item[]
  /** Takes out every waiting item. */
  clear(): Item[]
}

export function createLines<Item>(): Lines<Item> {
  const lines = new Map<string, Line<Item>>()
  /** Lines at rest with something waiting, the one that has waited longest first. */
  const ready = new Set<string>()

  /** Changes a line, and sees to it that it is known, and ready, where it should be. */
  function update<Result>(key: string, change: (line: Line<Item>) => Result): Result {
    const line = lines.get(key) ?? { items: [], busy: 0 }
    const result = change(line)
    const waits = line.items.length > 0
    if (waits || line.busy > 0) lines.set(key, line)
    else lines.delete(key)
    if (waits && line.busy === 0) ready.add(key)
    else ready.delete(key)
    return result
  }

  const drop = (key: string): Item[] => update(key, ({ items }) => items.splice(0))

  return {
    get waiting() {
      let count = 0
      for (const { items } of lines.values()) count += items.length
      return count
    },
    add: (key, item) => update(key, ({ items }) => items.push(item)),
    take() {
      const [key] = ready
      if (key === undefined) return undefined
      return update(key, (line) => {
        line.busy++
        return { key, item: line.items.shift() as Item }
      })
    },
    done: (key) => update(key, (line) => (line.busy = Math.max(0, line.busy - 1))),
    hold: (key) => update(key, (line) => line.busy++),
    drop,
    clear: () => [...lines.keys()].flatMap(drop),
  }
}
