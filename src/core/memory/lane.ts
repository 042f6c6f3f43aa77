import type { Entry, Lane } from '../inboxes.ts'
import type { Schedule, Scheduled } from './schedule.ts'

/** An entry where it is stored. */
export interface StoredEntry extends Scheduled {
  readonly lane: MemoryLane
  readonly number: number
  readonly text: string
  readonly expiresAt: number | null
  rejections: number
  dueAt: number | null
}

/** Entries of absent agents by the end of their time to live. */
export type Expiries = Schedule<StoredEntry>

export const expiryOf = (entry: StoredEntry): number => entry.expiresAt ?? Number.POSITIVE_INFINITY

/** One lane of one agent. Entries mostly leave at the front, which costs the same however many there are. */
export class MemoryLane {
  readonly agentId: string
  readonly name: Lane
  readonly #expiries: Expiries
  readonly #entries = new Map<number, StoredEntry>()
  #head = 0
  // No entry lies below it.
  #floor = 1
  // How many have a time to live: without any, nothing is looked up.
  #mortal = 0
  #watched = false

  constructor(agentId: string, name: Lane, expiries: Expiries) {
    this.agentId = agentId
    this.name = name
    this.#expiries = expiries
  }

  get size(): number {
    return this.#entries.size
  }

  /** The last number given. */
  get head(): number {
    return this.#head
  }

  /** The lowest number of an entry; `head + 1` where there is none. */
  get first(): number {
    if (this.#entries.size === 0) this.#floor = this.#head + 1
    while (this.#floor <= this.#head && !this.#entries.has(this.#floor)) this.#floor += 1
    return this.#floor
  }

  append(text: string, expiresAt: number | null, rejections: number, dueAt: number | null): number {
    const number = this.#head + 1
    this.#head = number
    const entry = { lane: this, number, text, expiresAt, rejections, dueAt, slot: -1 }
    this.#entries.set(number, entry)
    if (expiresAt !== null) {
      this.#mortal += 1
      if (this.#watched) this.#expiries.add(entry)
    }
    return number
  }

  get(number: number): StoredEntry | undefined {
    return this.#entries.get(number)
  }

  delete(number: number): void {
    if (this.#mortal > 0) {
      const entry = this.#entries.get(number)
      if (entry !== undefined && entry.expiresAt !== null) {
        this.#mortal -= 1
        this.#expiries.remove(entry)
      }
    }
    this.#entries.delete(number)
  }

  /** Whether its entries expire by the schedule: only while no session looks after them. */
  watch(watched: boolean): void {
    if (this.#watched === watched) return
    this.#watched = watched
    if (this.#mortal === 0) return
    for (const entry of this.#entries.values()) {
      if (entry.expiresAt === null) continue
      if (watched) this.#expiries.add(entry)
      else this.#expiries.remove(entry)
    }
  }

  /** Copies of the entries numbered above `after`, in order, at most `limit`. */
  after(after: number, limit: number): Entry[] {
    const found: Entry[] = []
    const from = Math.max(after + 1, this.first)
    // One old entry may hold the floor far below the others: then walking the numbers would take longer than walking the entries.
    if (this.#head - from < this.#entries.size) {
      for (let number = from; number <= this.#head && found.length < limit; number += 1) {
        const entry = this.#entries.get(number)
        if (entry !== undefined) found.push(copyOf(entry))
      }
      return found
    }
    for (const entry of this.#entries.values()) {
      if (found.length >= limit) break
      if (entry.number >= from) found.push(copyOf(entry))
    }
    return found
  }

  /** Takes everything out, in order. */
  clear(): StoredEntry[] {
    this.watch(false)
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    this.#mortal = 0
    return entries
  }
}

function copyOf({ number, text, expiresAt, rejections, dueAt }: StoredEntry): Entry {
  return { number, text, expiresAt, rejections, dueAt }
}
