import { decodeLine } from '../../protocol/codec.ts'
import type { Frame } from './dialect.ts'

const LINE_FEED = 0x0a

/** Frames in the order they came. */
export interface Frames {
  /** Characters, or bytes, that the latest one came as. */
  readonly size: number
  /** The next one; null: there is none left. @throws BrokenText where it is none */
  next(): Frame | null
}

/** The frames of one text, each parsed when it is asked for: as text they take a twentieth of the memory while they wait. */
export class Lines implements Frames {
  size = 0
  #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  next(): Frame | null {
    while (this.#at < this.#text.length) {
      if (this.#text.charCodeAt(this.#at) === LINE_FEED) {
        this.#at++
        continue
      }
      const end = this.#text.indexOf('\n', this.#at)
      const line = end === -1 ? this.#text.slice(this.#at) : this.#text.slice(this.#at, end)
      this.#at = end === -1 ? this.#text.length : end + 1
      this.size = line.length
      return decodeLine(line)
    }
    this.#text = ''
    return null
  }
}

/** One frame that needs no parsing any more. */
export class Parsed implements Frames {
  readonly size: number
  #frame: Frame | null

  /** @param size bytes that it came as */
  constructor(frame: Frame | null, size: number) {
    this.#frame = frame
    this.size = size
  }

  next(): Frame | null {
    const frame = this.#frame
    this.#frame = null
    return frame
  }
}

/** What was read of one connection and is not worked on yet, in its order. */
export class Backlog {
  #parts: Frames[] = []
  /** Where in `#parts` those begin that are not used up. */
  #first = 0
  #again: Frame[] = []
  #size = 0

  /** Characters, or bytes, that the frame taken latest came as. */
  get size(): number {
    return this.#size
  }

  add(frames: Frames): void {
    this.#parts.push(frames)
  }

  /** The next frame; null: there is none. @throws BrokenText; what follows then is not to be asked for */
  take(): Frame | null {
    const again = this.#again.pop()
    if (again) return again
    for (;;) {
      const part = this.#parts[this.#first]
      if (!part) break
      const frame = part.next()
      this.#size = part.size
      if (frame) return frame
      this.#first++
    }
    if (this.#first > 0) this.clear()
    return null
  }

  /** The frame that was just taken comes next again. */
  putBack(frame: Frame): void {
    this.#again.push(frame)
  }

  /** Whether there is nothing at all; parts without frames in them count until they were asked. */
  get isEmpty(): boolean {
    return this.#first === this.#parts.length && this.#again.length === 0
  }

  clear(): void {
    this.#parts = []
    this.#first = 0
    this.#again = []
  }
}
