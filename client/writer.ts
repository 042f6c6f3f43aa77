/**
 * The text of one or more frames; a function is called when it is written, for what still
 * grows until then, and may answer an empty string.
 */
export type Line = string | (() => string)

export interface Writer {
  write(line: Line): void
  /** Sends what is collected now. */
  flush(): void
  /** Drops what is collected. */
  clear(): void
}

/**
 * Joins the frames of one turn of the event loop into few WebSocket messages, none larger than `maxBytes` unless a single
 * frame is. A character counts as three bytes: nothing has to be encoded to be measured.
 */
export function createWriter(
  send: (text: string) => void,
  defer: (task: () => void) => void,
  maxBytes: number,
): Writer {
  let lines: Line[] = []
  let scheduled = false

  function flush(): void {
    scheduled = false
    let message: string[] = []
    let bytes = 0
    const written = lines
    lines = []
    for (const line of written) {
      const text = typeof line === 'string' ? line : line()
      if (text === '') continue
      const size = (text.length + 1) * 3
      if (bytes > 0 && bytes + size > maxBytes) {
        send(message.join('\n'))
        message = []
        bytes = 0
      }
      message.push(text)
      bytes += size
    }
    if (bytes > 0) send(message.join('\n'))
  }

  return {
    write(line) {
      lines.push(line)
      if (scheduled) return
      scheduled = true
      defer(flush)
    },
    flush,
    clear() {
      lines = []
    },
  }
}
