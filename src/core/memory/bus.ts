import type { Bus, Signal, Subscription } from '../bus.ts'

interface Subscriber {
  readonly hub: string
  readonly onSignal: (signal: Signal) => void
}

interface Pending {
  readonly namespace: string
  readonly hub: string | null
  readonly signal: Signal
}

/** Signals between hubs of one process. They arrive in a microtask, never inside the operation that sent them. */
export class MemoryBus implements Bus {
  readonly lossy = false
  readonly #subscribers = new Map<string, Set<Subscriber>>()
  readonly #onUnused: (namespace: string) => void
  #pending: Pending[] = []

  /** @param onUnused told when nobody listens to a namespace any more */
  constructor(onUnused: (namespace: string) => void) {
    this.#onUnused = onUnused
  }

  async subscribe(namespace: string, hub: string, onSignal: (signal: Signal) => void): Promise<Subscription> {
    const subscriber: Subscriber = { hub, onSignal }
    const subscribers = this.#subscribers.get(namespace) ?? new Set()
    this.#subscribers.set(namespace, subscribers.add(subscriber))
    return {
      close: async () => {
        subscribers.delete(subscriber)
        if (subscribers.size === 0 && this.#subscribers.get(namespace) === subscribers) {
          this.#subscribers.delete(namespace)
          this.#onUnused(namespace)
        }
      },
    }
  }

  publish(namespace: string, hub: string | null, signal: Signal): void {
    if (!this.#subscribers.has(namespace)) return
    this.#pending.push({ namespace, hub, signal })
    if (this.#pending.length === 1) queueMicrotask(() => this.#deliver())
  }

  /** No signal arrives afterwards. */
  close(): void {
    this.#subscribers.clear()
  }

  #deliver(): void {
    const batch = this.#pending
    // What a subscriber publishes now is for the next microtask.
    this.#pending = []
    for (const { namespace, hub, signal } of batch) {
      for (const subscriber of this.#subscribers.get(namespace) ?? []) {
        if (hub === null || hub === subscriber.hub) subscriber.onSignal(signal)
      }
    }
  }
}
