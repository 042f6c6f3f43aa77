const NONE: ReadonlySet<string> = new Set()

/** An index: key → ids; a key without ids takes no memory. */
export class MultiMap {
  readonly #idsByKey = new Map<string, Set<string>>()

  get(key: string): ReadonlySet<string> {
    return this.#idsByKey.get(key) ?? NONE
  }

  add(key: string, id: string): void {
    const ids = this.#idsByKey.get(key)
    if (ids) ids.add(id)
    else this.#idsByKey.set(key, new Set([id]))
  }

  delete(key: string, id: string): void {
    const ids = this.#idsByKey.get(key)
    ids?.delete(id)
    if (ids?.size === 0) this.#idsByKey.delete(key)
  }

  clear(): void {
    this.#idsByKey.clear()
  }
}
