import { WebSocket } from 'ws'
import type { AgentFields } from '../../protocol/agent.ts'
import { decode, type RawFrame } from '../../protocol/codec.ts'
import { MeshError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Reply, Welcome } from '../../protocol/replies.ts'

/** How soon a line that broke is tried again. Tests should not wait. */
const RETRY_MS = 10

/** The connection was lost before the hub answered; what it was to answer may have taken effect. */
export class LineBroken extends Error {
  override readonly name = 'LineBroken'
}

export interface LineOptions {
  readonly url: string
  readonly namespace: string
  readonly agent: AgentFields
  /** Told every frame that answers no command, apart from `ping`. */
  readonly onFrame: (frame: RawFrame) => void
  /** Told when a connection is over, before the next one is tried. */
  readonly onBroken: () => void
}

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

/** One agent's way to the hub, frame by frame: says `hello`, answers pings, and is there again at once whenever it breaks. */
export class Line {
  readonly #options: LineOptions
  readonly #waiting = new Map<number, Waiting>()
  #socket: WebSocket | null = null
  #welcome: Welcome | null = null
  #refs = 0
  #wanted = false

  constructor(options: LineOptions) {
    this.#options = options
  }

  /** The latest one. */
  get welcome(): Welcome {
    if (this.#welcome === null) throw new Error(`fake agent ${this.#options.agent.name} was never welcomed`)
    return this.#welcome
  }

  /** Resolves when the hub has welcomed the agent; until then a hub that is down is waited for. @throws MeshError where it refuses */
  async open(): Promise<void> {
    this.#wanted = true
    while (this.#wanted) {
      try {
        await this.#connect()
        return
      } catch (error) {
        this.#socket?.terminate()
        if (error instanceof MeshError) throw error
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
    throw new LineBroken(`fake agent ${this.#options.agent.name} was closed before the hub welcomed it`)
  }

  /** Without an answer; nothing happens where there is no connection. */
  push(frame: RawFrame): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame))
  }

  /** The result of a command. @throws MeshError as the hub says; LineBroken */
  async command<Result>(frame: RawFrame): Promise<Result> {
    if (this.#socket?.readyState !== WebSocket.OPEN)
      throw new LineBroken(`fake agent ${this.#options.agent.name} is not connected`)
    const answer = await this.#ask(frame)
    if (answer.type === 'error') throw MeshError.fromBody(answer.error)
    return (answer.type === 'ok' ? answer.result : answer) as Result
  }

  /** Gone without a word, until `open` is called again. Resolves when this side has closed. */
  async drop(): Promise<void> {
    this.#wanted = false
    const socket = this.#socket
    if (socket === null || socket.readyState === WebSocket.CLOSED) return
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.terminate()
    await closed
  }

  async #connect(): Promise<void> {
    const { url, namespace, agent } = this.#options
    const socket = new WebSocket(url, [SUBPROTOCOL], { perMessageDeflate: false })
    this.#socket = socket
    socket.on('message', (data) => {
      for (const frame of decode((data as Buffer).toString())) this.#onFrame(frame as RawFrame)
    })
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('close', () => reject(new LineBroken('closed before it was open')))
      // `close` follows each.
      socket.on('error', () => undefined)
    })
    let welcomed = false
    socket.once('close', () => this.#onClose(welcomed))
    const session = this.#welcome?.session ?? null
    const hello = { type: 'hello', protocol: 1, namespace, session, agent }
    this.#welcome = await this.command<Welcome>(hello)
    welcomed = true
  }

  #ask(frame: RawFrame): Promise<Reply> {
    this.#refs += 1
    const ref = this.#refs
    return new Promise((resolve, reject) => {
      this.#waiting.set(ref, { resolve, reject })
      this.push({ ...frame, ref })
    })
  }

  #onFrame(frame: RawFrame): void {
    if (frame.type === 'ping') {
      this.push({ type: 'pong' })
      return
    }
    const ref = Number(frame['ref'])
    const waiting = this.#waiting.get(ref)
    if (waiting === undefined) {
      this.#options.onFrame(frame)
      return
    }
    this.#waiting.delete(ref)
    waiting.resolve(frame as unknown as Reply)
  }

  #onClose(welcomed: boolean): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(new LineBroken('the connection broke before the hub answered'))
    this.#options.onBroken()
    // Before its welcome `open` itself tries again. A hub that refuses the agent now (its name went to another) has ended it:
    // its sends say that it is not connected.
    if (this.#wanted && welcomed) this.open().catch(() => undefined)
  }
}
