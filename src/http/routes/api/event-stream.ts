import type { ServerResponse } from 'node:http'
import { MeshError } from '../../../../protocol/errors.ts'
import type { Watch } from '../../../hub/operations.ts'
import type { Pass } from './authorize.ts'

/** Bytes waiting for a reader beyond which nothing stored is written; events wait by reference, and very many become a list anew. */
const BEHIND_BYTES = 1_048_576
/** Milliseconds after which an `EventSource` connects again. */
const RETRY_MS = 1_000
/** Over how long readers of a hub that ends come back, wherever that is. */
const SPREAD_MS = 2_000
/** How long what was still to be said may take. */
const ENDING_MS = 2_000

const HEAD = /^\{"type":"(event|snapshot)","subscription":"http","revision":(\d+),(?:"event":"([^"]+)",)?/
/** They have no revision of their own: the one they carry may lie beyond what was told. */
const UNSTORED: ReadonlySet<string> = new Set(['agent.heartbeat', 'message.dead_lettered'])

export interface EventStreamOptions {
  /** Milliseconds after which a silent stream says that it lives. */
  readonly heartbeatMs: number
  /** Milliseconds without a byte read after which one that is behind is closed. */
  readonly slowMs: number
}

/** One reader of Server-Sent Events. */
export class EventStream {
  readonly #response: ServerResponse
  readonly #options: EventStreamOptions
  #watch: Watch | null = null
  #passes: readonly Pass[] = []
  #ended = false
  #wroteAt = Date.now()
  /** Since when it is behind and its peer has read nothing; 0: it is not. */
  #stuckSince = 0
  #taken = 0

  constructor(
    response: ServerResponse,
    headers: Readonly<Record<string, number | string | string[] | undefined>>,
    options: EventStreamOptions,
  ) {
    this.#response = response
    this.#options = options
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Proxies that collect answers would hold events back.
      'x-accel-buffering': 'no',
    })
    this.#write(`retry: ${RETRY_MS}\n\n`)
    response.on('drain', () => this.#watch?.pump())
  }

  get ended(): boolean {
    return this.#ended || this.#response.destroyed
  }

  get behind(): boolean {
    return this.#response.writableLength > BEHIND_BYTES
  }

  /**
   * From now on what there is more of is asked for when there is room, for as long as its reader may have it.
   * @param passes what it was permitted by
   */
  follow(watch: Watch, passes: readonly Pass[]): void {
    this.#watch = watch
    this.#passes = passes
    this.judge()
  }

  /** To be called when tokens have changed. */
  judge(): void {
    try {
      this.#passes = this.#passes.map((pass) => pass.again())
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      this.end(`closed: ${error.message}`, 0)
    }
  }

  /**
   * The reader's first page, or what it has already.
   * @param continued the reader named a revision
   */
  start(fields: string, continued: boolean): void {
    if (continued && !fields.includes('"reset":true')) this.#write(': continued\n\n')
    else this.push(`{"type":"snapshot",${fields}}`)
  }

  /** A frame of a subscription. */
  push(frame: string): void {
    const [head, type, revision = '', event = 'list'] = HEAD.exec(frame) ?? []
    if (head === undefined) return
    const isUnstored = UNSTORED.has(event)
    if (isUnstored && this.behind) return
    const rest = frame.slice(head.length)
    const told = type === 'event' ? `"revision":${revision},"event":"${event}",` : `"revision":${revision},`
    // Who has a part of a list only has to ask for all of it again.
    const isWhole = type === 'event' ? !isUnstored : frame.includes('],"last":true,"reset":')
    this.#write(`${isWhole ? `id: ${revision}\n` : ''}event: ${event}\ndata: {${told}${rest}\n\n`)
  }

  #write(text: string): void {
    if (this.ended) return
    this.#wroteAt = Date.now()
    this.#response.write(text)
  }

  /** To be called every second. */
  look(now: number): void {
    if (this.ended) return
    if (this.#passes.some(({ until }) => until !== null && until <= now)) {
      this.end('the token has expired; connect again with a new one', 0)
      return
    }
    if (!this.behind) {
      this.#stuckSince = 0
      // It may stay so for long without ever being empty, which is what `drain` tells.
      this.#watch?.pump()
    } else if (this.#hasRead() || this.#stuckSince === 0) {
      this.#stuckSince = now
    } else if (now - this.#stuckSince >= this.#options.slowMs) {
      this.end(`closed: nothing was read for ${this.#options.slowMs} ms; connect again and read faster`, 0)
      return
    }
    if (now - this.#wroteAt < this.#options.heartbeatMs || this.behind) return
    // Events that do not match move the place where a reader would continue, too.
    const told = this.#watch?.told ?? null
    this.#write(`: heartbeat\n${told === null ? '' : `id: ${told}\n`}\n`)
  }

  #hasRead(): boolean {
    const { socket } = this.#response
    if (!socket) return false
    const taken = socket.bytesWritten - socket.writableLength
    const moved = taken > this.#taken
    this.#taken = taken
    return moved
  }

  /** The hub ends: each reader comes back at another time. */
  drain(): void {
    this.end('this hub is shutting down; connect again', Math.round(Math.random() * SPREAD_MS))
  }

  /** @param retryMs after which its reader is to come back */
  end(why: string, retryMs: number): void {
    if (this.ended) return
    this.#write(`retry: ${retryMs}\n: ${why}\n\n`)
    this.#ended = true
    this.#response.end()
    // One that never reads must not keep its socket.
    setTimeout(() => this.#response.destroy(), ENDING_MS).unref()
  }
}
