import type { OutboxStore, OutboxValue } from '../../client/outbox-store.ts'

type Write = Parameters<OutboxStore['write']>

/** A store whose writes the test lets through: `values` is what a later client finds. */
export class MemoryStore implements OutboxStore {
  readonly name = 'the outbox'
  readonly values = new Map<number, OutboxValue>()
  /** Calls of `write` so far. */
  writes = 0
  closed = false
  /** Whether writes are stored at once. */
  quick = true
  /** What a write fails with. */
  failure: Error | null = null
  readonly #waiting: (() => void)[] = []

  async open(): Promise<Iterable<readonly [number, OutboxValue]>> {
    this.closed = false
    return [...this.values].toSorted(([a], [b]) => a - b)
  }

  async write(...[puts, removes]: Write): Promise<void> {
    this.writes++
    if (!this.quick) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    if (this.failure !== null) throw this.failure
    for (const [key, value] of structuredClone(puts)) this.values.set(key, value)
    for (const key of removes) this.values.delete(key)
  }

  /** Lets the write go on that waits. */
  store(): void {
    this.#waiting.shift()?.()
  }

  async close(): Promise<void> {
    this.closed = true
  }

  /** What a machine that stops now leaves to the next client. */
  copy(): MemoryStore {
    const copy = new MemoryStore()
    for (const [key, value] of this.values) copy.values.set(key, structuredClone(value))
    return copy
  }
}
