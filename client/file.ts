import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { decode } from '../protocol/codec.ts'
import { MeshError } from '../protocol/errors.ts'
import { lockFile } from './file-lock.ts'
import { outboxOn } from './outbox.ts'
import type { Outbox, OutboxStore, OutboxValue } from './outbox.ts'

export type { Outbox } from './outbox.ts'

export interface FileOutboxOptions {
  /**
   * Whether each write waits until the disk has it, so that it outlives the machine's sudden end and not only the process's.
   * Default true.
   */
  readonly fsync?: boolean
}

type Item = readonly [key: number, value: OutboxValue]

/** A line of the file: what was written together. */
interface Batch {
  readonly put: readonly Item[]
  readonly remove: readonly number[]
}

/** Bytes below which a file is not worth writing anew. */
const COMPACT_MIN_BYTES = 1_048_576
/** How often larger than what it still holds a file may get. */
const COMPACT_FACTOR = 4
/** Bytes beyond which a file with nothing in it is emptied. */
const EMPTY_BYTES = 65_536

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** A new or renamed file outlives the machine's sudden end only when its directory does. Windows has no such thing. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/**
 * A log of writes, one a line, so that a write is there or it is not: a line that was cut off is none. Written anew when it
 * has grown far beyond what it holds.
 */
class FileStore implements OutboxStore {
  readonly name: string
  readonly #path: string
  readonly #fsync: boolean
  readonly #values = new Map<number, { readonly value: OutboxValue; readonly bytes: number }>()
  #file: FileHandle | null = null
  #unlock: (() => Promise<void>) | null = null
  /** Bytes of whole lines; what is behind them counts no more. */
  #size = 0
  #liveBytes = 0
  #compactAt = COMPACT_MIN_BYTES

  constructor(path: string, { fsync = true }: FileOutboxOptions) {
    this.#path = resolve(path)
    this.#fsync = fsync
    this.name = `the outbox file ${this.#path}`
  }

  async open(): Promise<Iterable<Item>> {
    const unlock = await lockFile(`${this.#path}.lock`, this.name)
    try {
      // Of a process that ended while it wrote the file anew.
      await rm(`${this.#path}.new`, { force: true })
      this.#replay(await readIfThere(this.#path))
      this.#file = await open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600)
      await this.#file.truncate(this.#size)
      if (this.#fsync) await syncDirectory(this.#path)
    } catch (error) {
      await unlock()
      throw error
    }
    this.#unlock = unlock
    return [...this.#values].map(([key, { value }]) => [key, value] as const).toSorted(([a], [b]) => a - b)
  }

  async write(put: readonly Item[], remove: readonly number[]): Promise<void> {
    const file = this.#file
    if (file === null) throw new Error('it is closed')
    const line = Buffer.from(`${JSON.stringify({ put, remove })}\n`)
    try {
      for (let at = 0; at < line.length;) {
        at += (await file.write(line, at, line.length - at, this.#size + at)).bytesWritten
      }
      if (this.#fsync) await file.datasync()
    } catch (error) {
      // What was written of it would come back to life if a later, shorter line ended where it goes on.
      await file.truncate(this.#size).catch(() => undefined)
      throw error
    }
    this.#size += line.length
    this.#apply({ put, remove })
    await this.#compact()
  }

  async close(): Promise<void> {
    const file = this.#file
    const unlock = this.#unlock
    this.#file = null
    this.#unlock = null
    try {
      await file?.close()
    } finally {
      await unlock?.()
    }
  }

  #replay(text: string): void {
    this.#values.clear()
    this.#liveBytes = 0
    this.#size = 0
    const lines = text.split('\n')
    for (const [index, line] of lines.entries()) {
      // What has no end was being written when its process or machine stopped, and so may the last whole line.
      if (index === lines.length - 1) return
      try {
        for (const batch of decode(line)) this.#apply(batch as unknown as Batch)
      } catch (cause) {
        if (lines.slice(index + 1).every((rest) => rest === '')) return
        throw new MeshError(
          'store_unavailable',
          `${this.name} is damaged in line ${index + 1}; move it away to go on without the sends it keeps`,
          { details: this.#path, cause },
        )
      }
      this.#size += Buffer.byteLength(line) + 1
    }
  }

  #apply({ put, remove }: Batch): void {
    for (const [key, value] of put) {
      this.#forget(key)
      const bytes = 'tail' in value ? String(value.tail).length : 0
      this.#values.set(key, { value, bytes })
      this.#liveBytes += bytes
    }
    for (const key of remove) this.#forget(key)
  }

  #forget(key: number): void {
    this.#liveBytes -= this.#values.get(key)?.bytes ?? 0
    this.#values.delete(key)
  }

  /** Fails at nothing: where the file can't be written anew the old one goes on. */
  async #compact(): Promise<void> {
    const file = this.#file as FileHandle
    // Only the header is left.
    if (this.#values.size <= 1 && this.#size > EMPTY_BYTES) {
      await file.truncate(0).then(
        () => (this.#size = 0),
        () => undefined,
      )
      return
    }
    if (this.#size < Math.max(this.#compactAt, COMPACT_FACTOR * this.#liveBytes)) return
    const path = `${this.#path}.new`
    try {
      const put = [...this.#values].map(([key, { value }]) => [key, value] as const)
      const line = Buffer.from(`${JSON.stringify({ put, remove: [] })}\n`)
      const anew = await open(path, 'w', 0o600)
      try {
        await anew.writeFile(line)
        if (this.#fsync) await anew.sync()
        await rename(path, this.#path)
      } catch (error) {
        await anew.close()
        throw error
      }
      this.#file = anew
      this.#size = line.length
      this.#compactAt = COMPACT_MIN_BYTES
      await file.close()
      if (this.#fsync) await syncDirectory(this.#path)
    } catch {
      this.#compactAt = 2 * this.#size
      await rm(path, { force: true }).catch(() => undefined)
    }
  }
}

/**
 * An outbox in a file, for one process at a time: a log that is written anew as it grows, and beside it, while a client has it,
 * `<path>.lock`. Its directory has to exist. `connect` rejects with `agent_taken` where another process has it, and with
 * `store_unavailable` where it is damaged (a last line that was cut off is not damage).
 */
export function fileOutbox(path: string, options: FileOutboxOptions = {}): Outbox {
  return outboxOn(new FileStore(path, options))
}
