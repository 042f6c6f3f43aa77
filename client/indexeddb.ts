import { MeshError } from '../protocol/errors.ts'
import { outboxOn } from './outbox.ts'
import type { Outbox, OutboxStore, OutboxValue } from './outbox.ts'

export type { Outbox } from './outbox.ts'

export interface IndexedDbOutboxOptions {
  /**
   * `strict`: each write waits until the disk has it, so that it outlives the machine's sudden end. Default `relaxed`: it
   * outlives the page and the browser.
   */
  readonly durability?: 'relaxed' | 'strict'
}

/** A page that is being reloaded still has its lock for a moment. */
const LOCK_WAIT_MS = 2000
const STORE = 'values'

function settled<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

class IndexedDbStore implements OutboxStore {
  readonly name: string
  readonly #key: string
  readonly #durability: 'relaxed' | 'strict'
  #database: IDBDatabase | null = null
  #unlock: (() => void) | null = null

  constructor(name: string, { durability = 'relaxed' }: IndexedDbOutboxOptions) {
    this.name = `the outbox "${name}"`
    this.#key = `meshwire-outbox:${name}`
    this.#durability = durability
  }

  async open(): Promise<Iterable<readonly [number, OutboxValue]>> {
    const unlock = await this.#lock()
    try {
      const request = indexedDB.open(this.#key, 1)
      request.onupgradeneeded = () => request.result.createObjectStore(STORE)
      this.#database = await settled(request)
      const values = this.#database.transaction(STORE).objectStore(STORE)
      const [keys, all] = await Promise.all([settled(values.getAllKeys()), settled(values.getAll())])
      this.#unlock = unlock
      return keys.map((key, index) => [key as number, all[index] as OutboxValue] as const)
    } catch (cause) {
      this.#database?.close()
      unlock()
      throw new MeshError(
        'store_unavailable',
        `${this.name} can't be opened: ${(cause as Error).message}; allow this site to store data, or connect without an outbox`,
        { cause },
      )
    }
  }

  write(puts: readonly (readonly [number, OutboxValue])[], removes: readonly number[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#database === null) throw new Error('it is closed')
      const transaction = this.#database.transaction(STORE, 'readwrite', { durability: this.#durability })
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(transaction.error ?? new Error('the transaction was aborted'))
      const values = transaction.objectStore(STORE)
      for (const [key, value] of puts) values.put(value, key)
      for (const key of removes) values.delete(key)
    })
  }

  async close(): Promise<void> {
    this.#database?.close()
    this.#database = null
    this.#unlock?.()
    this.#unlock = null
  }

  /** Held until the page is gone, or `close`. */
  async #lock(): Promise<() => void> {
    const locks = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks
    if (locks === undefined || typeof indexedDB === 'undefined') {
      throw new MeshError(
        'store_unavailable',
        `${this.name} needs IndexedDB and Web Locks, which a page has by https: or on localhost; in Node use fileOutbox`,
      )
    }
    return new Promise((resolve, reject) => {
      const held = (): Promise<void> => new Promise((release) => resolve(release))
      const taken = (cause: unknown): void =>
        reject(
          new MeshError(
            'agent_taken',
            `${this.name} is in use by another tab or client; close that one, or give this one an outbox and an id of its own`,
            { cause },
          ),
        )
      locks.request(this.#key, { signal: AbortSignal.timeout(LOCK_WAIT_MS) }, held).catch(taken)
    })
  }
}

/**
 * An outbox in the browser's IndexedDB, for one page at a time (it waits two seconds for a page that is being reloaded).
 * `connect` rejects with `agent_taken` where another tab has it, and with `store_unavailable` where the browser keeps nothing.
 * @param name of the outbox, among those of this origin
 */
export function indexedDbOutbox(name: string, options: IndexedDbOutboxOptions = {}): Outbox {
  return outboxOn(new IndexedDbStore(name, options))
}
