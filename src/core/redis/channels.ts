type OnText = (text: string) => void

/** Who listens to which channel, whatever connections bring what is published there. */
export class Channels {
  readonly #onText = new Map<string, Set<OnText>>()
  readonly #onGap = new Map<() => void, readonly string[]>()

  get names(): IterableIterator<string> {
    return this.#onText.keys()
  }

  has(channel: string): boolean {
    return this.#onText.has(channel)
  }

  add(channels: readonly string[], onText: OnText, onGap: () => void): void {
    for (const channel of channels)
      this.#onText.set(channel, (this.#onText.get(channel) ?? new Set()).add(onText))
    this.#onGap.set(onGap, channels)
  }

  /** @returns the channels that nobody listens to any more */
  delete(channels: readonly string[], onText: OnText, onGap: () => void): string[] {
    this.#onGap.delete(onGap)
    return channels.filter((channel) => {
      const listeners = this.#onText.get(channel)
      listeners?.delete(onText)
      return listeners?.size === 0 && this.#onText.delete(channel)
    })
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
