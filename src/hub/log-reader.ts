import type { Broadcasts } from '../core/broadcasts.ts'
import { WiredBroadcast } from './wired-broadcast.ts'

interface LogPage {
  readonly entries: readonly WiredBroadcast[]
  readonly head: number
}

/**
 * Reads the broadcast log for the sessions of a namespace. A long broadcast is not in its signal, so that all of them read it
 * at once: those that ask for the same in one turn of the event loop are given the answer of one call.
 */
export class LogReader {
  readonly #namespace: string
  readonly #broadcasts: Broadcasts
  readonly #asked = new Map<string, Promise<LogPage>>()

  constructor(namespace: string, broadcasts: Broadcasts) {
    this.#namespace = namespace
    this.#broadcasts = broadcasts
  }

  /** The entries numbered above `after`, in order, at most `limit`; `head`: the last number given. */
  read(after: number, limit: number): Promise<LogPage> {
    const key = `${after} ${limit}`
    const known = this.#asked.get(key)
    if (known) return known
    const page = this.#read(after, limit)
    // Not longer than this turn: who asks later has heard of more.
    if (this.#asked.size === 0) setImmediate(() => this.#asked.clear())
    this.#asked.set(key, page)
    return page
  }

  async #read(after: number, limit: number): Promise<LogPage> {
    const { entries, head } = await this.#broadcasts.read(this.#namespace, after, limit)
    return { entries: entries.map((entry) => new WiredBroadcast(entry)), head }
  }
}
