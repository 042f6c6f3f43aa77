import { EventEmitter } from 'node:events'
import type { VirtualClock } from './clock.ts'
import type { Random } from './random.ts'

/** What the agent's end hears. */
export interface Listener {
  text(text: string): void
  closed(code: number): void
}

/** The text of an unmasked frame, as hubs write them. */
function textOf(wire: Buffer): string {
  const length = (wire[1] ?? 0) & 127
  return wire.subarray(length < 126 ? 2 : length === 126 ? 4 : 10).toString()
}

/**
 * A WebSocket of a hub whose other end is a simulated agent: what passes takes a random time, in order, until the line is cut.
 * Has of `ws` and of its socket just what the hub uses.
 */
export class SimSocket extends EventEmitter {
  readyState = 1
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #listener: Listener
  readonly #socket = new EventEmitter()
  #toAgentAt = 0
  #toHubAt = 0
  #paused = false
  #read: string[] = []
  #cut = false
  #agentGone = false

  constructor(clock: VirtualClock, random: Random, listener: Listener) {
    super()
    this.#clock = clock
    this.#random = random
    this.#listener = listener
    Object.assign(this.#socket, {
      writableLength: 0,
      bytesWritten: 0,
      cork: () => undefined,
      uncork: () => undefined,
      write: (wire: Buffer) => {
        const text = textOf(wire)
        this.#toAgent(() => this.#listener.text(text))
        return true
      },
    })
  }

  get _socket(): EventEmitter {
    return this.#socket
  }

  /** After what was written before. */
  #toAgent(arrive: () => void): void {
    this.#toAgentAt = Math.max(this.#toAgentAt, this.#clock.now + this.#random.between(0.2, 15))
    setTimeout(() => {
      if (!this.#cut && !this.#agentGone) arrive()
    }, this.#toAgentAt - this.#clock.now)
  }

  /** The agent writes. */
  write(text: string): void {
    this.#toHubAt = Math.max(this.#toHubAt, this.#clock.now + this.#random.between(0.2, 15))
    setTimeout(() => {
      if (!this.#cut && this.readyState === 1) this.#arrived(text)
    }, this.#toHubAt - this.#clock.now)
  }

  #arrived(text: string): void {
    if (this.#paused) this.#read.push(text)
    else this.emit('message', Buffer.from(text), false)
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    const read = this.#read
    this.#read = []
    for (const text of read) this.#arrived(text)
  }

  /** The hub closes. */
  close(code: number): void {
    if (this.readyState !== 1) return
    this.readyState = 2
    this.#toAgent(() => this.#agentHears(code))
    setTimeout(() => this.#hubHears(code), this.#random.between(1, 30))
  }

  terminate(): void {
    if (this.readyState === 3) return
    this.#toAgent(() => this.#agentHears(1006))
    this.#hubHears(1006)
  }

  #agentHears(code: number): void {
    if (this.#agentGone) return
    this.#agentGone = true
    this.#listener.closed(code)
  }

  #hubHears(code: number): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.emit('close', code)
  }

  /** The agent's process drops it; the hub may hear of it soon, or never. */
  drop(isNoticed: boolean): void {
    this.#agentGone = true
    this.#cut = true
    if (isNoticed) setTimeout(() => this.#hubHears(1006), this.#random.between(0.2, 15))
  }

  /** The hub's process is gone. */
  hubGone(isNoticed: boolean): void {
    this.#cut = true
    this.readyState = 3
    if (isNoticed) setTimeout(() => this.#agentHears(1006), this.#random.between(0.2, 15))
    else setTimeout(() => this.#agentHears(1006), 3_000)
  }
}
