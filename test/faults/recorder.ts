import { createWriteStream, type WriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { Entry, Happening, History } from './history.ts'

/** Writes a history: in memory, and as JSON lines into a file. */
export class Recorder {
  readonly #entries: Entry[] = []
  readonly #file: WriteStream | null

  /** @param path null: in memory only */
  constructor(path: string | null) {
    this.#file = path === null ? null : createWriteStream(path)
  }

  get history(): History {
    return this.#entries
  }

  write(happening: Happening): void {
    const entry = { n: this.#entries.length + 1, at: Date.now(), ...happening }
    this.#entries.push(entry)
    this.#file?.write(`${JSON.stringify(entry)}\n`)
  }

  async close(): Promise<void> {
    if (!this.#file) return
    this.#file.end()
    await finished(this.#file)
  }
}
