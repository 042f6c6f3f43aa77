import type { Entry, Lane } from '../inboxes.ts'
import type { InboxBytes } from './inbox-bytes.ts'
import type { Schedule, Scheduled } from './schedule.ts'
import { SparseLog } from './sparse-log.ts'

/** An entry that has no number yet. */
export interface NewEntry {
  readonly text: string
  readonly expiresAt: number | null
  /** The agent that is told how it fares; null: nobody. */
  readonly receiptTo: string | null
  /** That one is told of a failure only. */
  readonly isQuiet?: boolean
  readonly rejections: number
  readonly dueAt: number | null
}

/** An entry where it is stored. */
export interface StoredEntry extends Scheduled {
  readonly lane: MemoryLane
  readonly number: number
  readonly text: string
  readonly expiresAt: number | null
  readonly receiptTo: string | null
  readonly isQuiet: boolean
  /** What it counts of the namespace's inboxes. */
  readonly bytes: number
  /** The sender has been told that somebody works on it. */
  inProgress: boolean
  rejections: number
  dueAt: number | null
}

/** Entries of absent agents by the end of their time to live. */
export type Expiries = Schedule<StoredEntry>

export const expiryOf = (entry: StoredEntry): number => entry.expiresAt ?? Number.POSITIVE_INFINITY

/** One lane of one agent. */
export class MemoryLane {
  readonly agentId: string
  readonly name: Lane
  readonly #expiries: Expiries
  readonly #inboxBytes: InboxBytes
  readonly #entries = new SparseLog<StoredEntry>()
  // How many have a time to live: without any, nothing is scheduled.
  #mortal = 0
  #watched = false

  constructor(agentId: string, name: Lane, expiries: Expiries, inboxBytes: InboxBytes) {
    this.agentId = agentId
    this.name = name
    this.#expiries = expiries
    this.#inboxBytes = inboxBytes
  }

  get size(): number {
    return this.#entries.size
  }

  /** The last number given. */
  get head(): number {
    return this.#entries.head
  }

  /** The lowest number of an entry; `head + 1` where there is none. */
  get first(): number {
    return this.#entries.first
  }

  append({ text, expiresAt, receiptTo, isQuiet = false, rejections, dueAt }: NewEntry): number {
    const number = this.#entries.head + 1
    const bytes = this.name === 'inbox' ? this.#inboxBytes.of(text) : 0
    const entry: StoredEntry = {
      lane: this,
      number,
      text,
      expiresAt,
      receiptTo,
      isQuiet,
      bytes,
      inProgress: false,
      rejections,
      dueAt,
      slot: -1,
    }
    this.#entries.append(number, entry)
    this.#inboxBytes.add(bytes)
    if (expiresAt !== null) {
      this.#mortal += 1
      if (this.#watched) this.#expiries.add(entry)
    }
    return number
  }

  get(number: number): StoredEntry | undefined {
    return this.#entries.get(number)
  }

  /** Takes an entry out. */
  take(number: number): StoredEntry | undefined {
    const entry = this.#entries.get(number)
    if (entry === undefined) return undefined
    this.#entries.delete(number)
    this.#inboxBytes.add(-entry.bytes)
    if (entry.expiresAt !== null) {
      this.#mortal -= 1
      this.#expiries.remove(entry)
    }
    return entry
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
    return this.#entries.after(after, limit).map(copyOf)
  }

  /** Takes everything out, in order. */
  clear(): StoredEntry[] {
    this.watch(false)
    this.#mortal = 0
    const entries = this.#entries.clear()
    for (const { bytes } of entries) this.#inboxBytes.add(-bytes)
    return entries
  }
}

function copyOf({ number, text, expiresAt, rejections, dueAt }: StoredEntry): Entry {
  return { number, text, expiresAt, rejections, dueAt }
}
