import { idFrames } from './id-frames.ts'

/** Milliseconds between two signs of progress where the hub takes nothing back however long it waits. */
const UNHURRIED_MS = 20_000

/**
 * Tells the hub, three times within its acknowledgement timeout, which messages are still worked on. One timer for all of
 * them; it runs while there are any.
 */
export class Progress {
  readonly #write: (line: string) => void
  readonly #ids: () => string[]
  #everyMs = UNHURRIED_MS
  #timer: ReturnType<typeof setInterval> | null = null
  #toldAt = 0

  /** `ids`: of the messages that are worked on now. */
  constructor(write: (line: string) => void, ids: () => string[]) {
    this.#write = write
    this.#ids = ids
  }

  /** Milliseconds until the hub takes back what it hears nothing of; 0: never. */
  set ackTimeoutMs(ackTimeoutMs: number) {
    const everyMs = ackTimeoutMs > 0 ? ackTimeoutMs / 3 : UNHURRIED_MS
    if (everyMs === this.#everyMs) return
    this.#everyMs = everyMs
    if (this.#timer === null) return
    this.stop()
    this.start()
  }

  /** Something is worked on. */
  start(): void {
    if (this.#timer !== null) return
    this.#toldAt = Date.now()
    this.#timer = setInterval(() => this.#tell(), this.#everyMs)
  }

  /** The hub has been heard: if the timer is behind its time (a hidden tab's runs once a minute), tells it now. */
  catchUp(): void {
    if (this.#timer !== null && Date.now() - this.#toldAt >= this.#everyMs) this.#tell()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #tell(): void {
    this.#toldAt = Date.now()
    const ids = this.#ids()
    if (ids.length === 0) this.stop()
    else this.#write(idFrames('progress', ids))
  }
}
