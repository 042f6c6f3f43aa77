import type { StreamError } from '../../../protocol/pushes.ts'
import type { MxpIds } from './call-ids.ts'

export interface WaitingChunk {
  readonly payload: unknown
  /** Bytes of the message it came in. */
  readonly bytes: number
  /** Called when it is passed on. */
  readonly onPassed: () => void
  /** Called when the stream ended before it. */
  readonly onLost: () => void
}

/** A stream that the MXP agent sends. Its chunks wait here for the receiver's credit, of which MXP knows nothing. */
export class OutgoingStream {
  readonly id: string
  readonly ids: MxpIds
  readonly #command: (frame: Record<string, unknown>) => void
  readonly #onOver: () => void
  #credit = 0
  #seq = 0
  readonly #waiting: WaitingChunk[] = []
  #waitingBytes = 0
  #over = false
  #ending: { readonly error: StreamError | null } | null = null

  /**
   * @param command has the hub work on a frame of its own protocol
   * @param onOver the hub has been told the end
   */
  constructor(
    id: string,
    ids: MxpIds,
    command: (frame: Record<string, unknown>) => void,
    onOver: () => void,
  ) {
    this.id = id
    this.ids = ids
    this.#command = command
    this.#onOver = onOver
  }

  /** The agent has ended it, though chunks may wait. */
  get ended(): boolean {
    return this.#ending !== null
  }

  /** Bytes of the chunks that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  chunk(chunk: WaitingChunk): void {
    if (this.#ending !== null) return
    this.#waiting.push(chunk)
    this.#waitingBytes += chunk.bytes
    this.#flush()
  }

  /** The receiver takes so many more. */
  grant(credit: number): void {
    this.#credit += credit
    this.#flush()
  }

  /** Ends it after the chunks that wait. */
  end(error: StreamError | null): void {
    if (this.#ending !== null) return
    this.#ending = { error }
    this.#flush()
  }

  /** Ends it now: the chunks that wait are lost. */
  breakOff(error: StreamError): void {
    this.drop()
    this.#ending = { error }
    this.#flush()
  }

  /** The chunks that wait are lost. */
  drop(): void {
    this.#waitingBytes = 0
    for (const { onLost } of this.#waiting.splice(0)) onLost()
  }

  #flush(): void {
    while (this.#credit > 0) {
      const chunk = this.#waiting.shift()
      if (!chunk) break
      this.#credit--
      this.#waitingBytes -= chunk.bytes
      this.#command({ type: 'stream.chunk', stream: this.id, seq: this.#seq++, payload: chunk.payload })
      chunk.onPassed()
    }
    if (this.#ending === null || this.#waiting.length > 0 || this.#over) return
    this.#over = true
    this.#onOver()
    this.#command({ type: 'stream.end', stream: this.id, error: this.#ending.error })
  }
}
