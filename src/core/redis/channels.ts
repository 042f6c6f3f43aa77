type OnText = (text: string) => void

/** The connections that bring what is published. Both take channels of one slot. */
export interface ChannelSource {
  subscribe(channels: readonly string[]): Promise<void>
  unsubscribe(channels: readonly string[]): Promise<void>
}

/** Who listens to which channel; a channel is subscribed while somebody does. */
export class Channels {
  readonly #source: ChannelSource
  readonly #onText = new Map<string, Set<OnText>>()
  readonly #onGap = new Map<() => void, readonly string[]>()

  constructor(source: ChannelSource) {
    this.#source = source
  }

  get names(): IterableIterator<string> {
    return this.#onText.keys()
  }

  /** As Connections.subscribe. Where it fails nobody listens. */
  async subscribe(channels: readonly string[], onText: OnText, onGap: () => void): Promise<void> {
    for (const channel of channels)
      this.#onText.set(channel, (this.#onText.get(channel) ?? new Set()).add(onText))
    this.#onGap.set(onGap, channels)
    try {
      await this.#source.subscribe(channels)
    } catch (error) {
      // The first failure is the one to tell.
      await this.unsubscribe(channels, onText, onGap).catch(() => undefined)
      throw error
    }
  }

  /** As Connections.unsubscribe. */
  async unsubscribe(channels: readonly string[], onText: OnText, onGap: () => void): Promise<void> {
    this.#onGap.delete(onGap)
    const unused = channels.filter((channel) => {
      const listeners = this.#onText.get(channel)
      listeners?.delete(onText)
      return listeners?.size === 0 && this.#onText.delete(channel)
    })
    if (unused.length > 0) await this.#source.unsubscribe(unused)
  }

  hear(channel: string, text: string): void {
    for (const onText of this.#onText.get(channel) ?? []) onText(text)
  }

  /** What was published on these channels (absent: on any) may have been lost. */
  gap(lost?: ReadonlySet<string>): void {
    for (const [onGap, channels] of [...this.#onGap])
      if (!lost || channels.some((channel) => lost.has(channel))) onGap()
  }
}
