/**
 * The text of one or more frames; a function is called when it is written, for what still
 * grows until then, and may answer an empty string.
 */
export type Line = string | (() => string)

/**
 * Joins the frames of one turn of the event loop into few WebSocket messages, none larger than `maxBytes` unless a single
 * frame is. A character counts as three bytes: nothing has to be encoded to be measured.
 */
export class Writer {
  readonly #send: (text: string) => void
  readonly #defer: (task: () => void) => void
  readonly #maxBytes: number
  #lines: Line[] = []
  #scheduled = false

  constructor(send: (text: string) => void, defer: (task: () => void) => void, maxBytes: number) {
    this.#send = send
    this.#defer = defer
    this.#maxBytes = maxBytes
  }

  write(line: Line): void {
    this.#lines.push(line)
    if (this.#scheduled) return
    this.#scheduled = true
    this.#defer(() => this.flush())
  }

  /** Sends what is collected now. */
  flush(): void {
    this.#scheduled = false
    const lines = this.#lines
      .map((line) => (typeof line === 'string' ? line : line()))
      .filter((line) => line !== '')
    this.#lines = []
    let start = 0
    let bytes = 0
    for (let index = 0; index < lines.length; index++) {
      const size = ((lines[index] ?? '').length + 1) * 3
      if (index > start && bytes + size > this.#maxBytes) {
        this.#send(lines.slice(start, index).join('\n'))
        start = index
        bytes = 0
      }
      bytes += size
    }
    if (start < lines.length) this.#send(lines.slice(start).join('\n'))
  }

  /** Drops what is collected. */
  clear(): void {
    this.#lines = []
  }
}
