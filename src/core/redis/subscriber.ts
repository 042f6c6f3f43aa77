import { Client, type ClientOptions } from './client.ts'
import { slotOf } from './slots.ts'

/** Channels in one command. */
const SUBSCRIBE_MAX = 1_000
/** Canaries missed in a row after which the connection is made anew, and after which it counts as dead. */
const REBUILD_AFTER = 3
const DEAD_AFTER = 6

export interface SubscriberOptions extends Omit<ClientOptions, 'onReady' | 'onText' | 'onLost'> {
  /** SSUBSCRIBE instead of SUBSCRIBE. */
  readonly sharded: boolean
  readonly onText: (channel: string, text: string) => void
  /** It brings what is published, for the first time or again. */
  readonly onSubscribed: () => void
  /** It is subscribed again; what was published meanwhile on these channels is lost. */
  readonly onGap: (channels: ReadonlySet<string>) => void
  /** Publishes by another connection to the same server. */
  readonly publish: (channel: string, text: string) => Promise<unknown>
  readonly canaryIntervalMs: number
}

/**
 * The subscribed connection to one server. A connection can be there and bring nothing, so it is tried with a canary:
 * something published to itself from time to time.
 */
export class Subscriber {
  readonly #options: SubscriberOptions
  readonly #client: Client
  readonly #channels = new Set<string>()
  readonly #timer: NodeJS.Timeout
  #canary: string
  #subscribing: Promise<void> = Promise.resolve()
  #awaited = false
  #missed = 0

  /** @param canary a channel that nobody else uses */
  constructor(options: SubscriberOptions, canary: string) {
    this.#options = options
    this.#canary = canary
    this.#client = new Client({
      ...options,
      onReady: () => {
        this.#subscribing = this.#subscribeAll()
        this.#subscribing.catch(() => undefined)
      },
      onText: (channel, text) => this.#hear(channel, text),
    })
    this.#timer = setInterval(() => this.#tryCanary(), options.canaryIntervalMs)
    this.#timer.unref()
  }

  /** The first connection, and what is subscribed first. Rejects where either is refused, after `onError`. */
  async connect(): Promise<void> {
    await this.#client.connect()
    await this.#subscribing
  }

  /** What is published arrives, as far as the last canaries tell. */
  get alive(): boolean {
    return this.#client.ready && this.#missed < DEAD_AFTER
  }

  has(channel: string): boolean {
    return this.#channels.has(channel)
  }

  get channels(): ReadonlySet<string> {
    return this.#channels
  }

  /** Resolves when what is published from now on arrives. Rejects where that cannot be had now; then it is had later. */
  async add(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#channels.add(channel)
    if (!this.#client.ready) throw new Error('the subscription is interrupted')
    await this.#subscribe(channels)
  }

  async delete(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#channels.delete(channel)
    // Not connected: nothing is subscribed at the server, and `#channels` says what will be.
    if (!this.#client.ready) return
    for (const part of this.#parts(channels)) await this.#client.unsubscribe(part, this.#options.sharded)
  }

  /** Makes another connection: this one is suspected to be dead. */
  renew(): void {
    this.#client.reconnect()
  }

  /** Uses another channel for the canary: the server does not have the slot of the old one any more. */
  watch(canary: string): void {
    this.#canary = canary
    // Where it fails the next canaries are missed.
    if (this.#client.ready) this.#subscribe([canary]).catch(() => undefined)
  }

  /** Channels of different slots may not be in one command. */
  #parts(channels: Iterable<string>): string[][] {
    const { sharded } = this.#options
    const bySlot = new Map<number, string[]>()
    for (const channel of channels) {
      const slot = sharded ? slotOf(channel) : 0
      const group = bySlot.get(slot)
      if (group) group.push(channel)
      else bySlot.set(slot, [channel])
    }
    return [...bySlot.values()].flatMap((group) =>
      Array.from({ length: Math.ceil(group.length / SUBSCRIBE_MAX) }, (_, part) =>
        group.slice(part * SUBSCRIBE_MAX, (part + 1) * SUBSCRIBE_MAX),
      ),
    )
  }

  async #subscribe(channels: Iterable<string>): Promise<void> {
    await Promise.all(
      this.#parts(channels).map((part) => this.#client.subscribe(part, this.#options.sharded)),
    )
  }

  async #subscribeAll(): Promise<void> {
    this.#awaited = false
    const before = new Set(this.#channels)
    try {
      await this.#subscribe([this.#canary, ...this.#channels])
    } catch (error) {
      // Half a subscription is worse than none: begin again with a new connection, unless it is asked of the wrong node.
      if (error instanceof Error && error.message.startsWith('MOVED')) this.#options.onMoved?.()
      else {
        // What the server says; that a connection is lost is told elsewhere.
        if (error instanceof Error && error.name === 'ReplyError') this.#options.onError(error)
        this.#client.reconnect()
      }
      throw error
    }
    this.#options.onSubscribed()
    if (before.size > 0) this.#options.onGap(before)
  }

  #hear(channel: string, text: string): void {
    if (channel !== this.#canary) return this.#options.onText(channel, text)
    this.#awaited = false
    this.#missed = 0
  }

  #tryCanary(): void {
    if (!this.#client.ready) return
    if (this.#awaited) {
      this.#missed += 1
      if (this.#missed % REBUILD_AFTER === 0) {
        this.#options.onError(
          new Error(`the subscription is silent for ${this.#missed} canaries: subscribing anew`),
        )
        this.#client.reconnect()
        return
      }
    }
    this.#awaited = true
    // One that could not be published says nothing of the subscription.
    this.#options.publish(this.#canary, '').catch(() => (this.#awaited = false))
  }

  close(): void {
    clearInterval(this.#timer)
    this.#client.close()
  }
}
