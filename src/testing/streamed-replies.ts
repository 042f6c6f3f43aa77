import type { RawFrame } from '../../protocol/codec.ts'
import type { Message } from '../../protocol/pushes.ts'
import { LineBroken, type Line } from './line.ts'

/** One answer on its way, chunk by chunk. */
interface Stream {
  credit: number
  over: boolean
  /** Called when there is credit, or the stream is over. */
  wake: () => void
}

/** Whether a reply is streamed rather than sent. */
export const isStreamed = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

/** The streams a fake agent answers with (PROTOCOL.md section 6). Those that others open towards it are cancelled. */
export class StreamedReplies {
  readonly #line: Line
  readonly #streams = new Map<string, Stream>()
  #opened = 0

  constructor(line: Line) {
    this.#line = line
  }

  /** Resolves when the asker has all chunks, or wants no more. @throws MeshError where it is gone; LineBroken */
  async send({ from, id, correlationId = id }: Message, chunks: AsyncIterable<unknown>): Promise<void> {
    this.#opened += 1
    const name = `s${this.#opened}`
    const stream: Stream = { credit: 0, over: false, wake: () => undefined }
    this.#streams.set(name, stream)
    try {
      await this.#line.command({ type: 'stream.open', stream: name, to: { agent: from }, correlationId })
      await this.#write(name, stream, chunks)
    } finally {
      this.#streams.delete(name)
    }
  }

  /** A frame of a stream; others are left alone. */
  onFrame({ type, stream: name, credit }: RawFrame): void {
    if (type === 'stream.open')
      this.#line.push({ type: 'stream.cancel', stream: name, reason: 'a fake agent reads no streams' })
    const stream = this.#streams.get(String(name))
    if (stream === undefined) return
    if (type === 'stream.credit') stream.credit += Number(credit)
    else stream.over = true
    stream.wake()
  }

  /** The connection is gone, and every stream with it. */
  onBroken(): void {
    for (const stream of this.#streams.values()) {
      stream.over = true
      stream.wake()
    }
  }

  async #write(name: string, stream: Stream, chunks: AsyncIterable<unknown>): Promise<void> {
    let seq = 0
    try {
      for await (const payload of chunks) {
        while (stream.credit === 0 && !stream.over) await new Promise<void>((wake) => (stream.wake = wake))
        if (stream.over) return
        stream.credit -= 1
        this.#line.push({ type: 'stream.chunk', stream: name, seq: seq++, payload })
      }
      this.#line.push({ type: 'stream.end', stream: name, error: null })
    } catch (error) {
      if (error instanceof LineBroken) throw error
      const { message } = error as Error
      this.#line.push({ type: 'stream.end', stream: name, error: { code: 'handler_failed', message } })
    }
  }
}
