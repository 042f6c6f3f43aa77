import type { Event, Snapshot } from '../protocol/pushes.ts'
import type { Calls } from './calls.ts'
import { Subscription } from './subscription.ts'
import type { Watch, WatchOptions } from './watch.ts'
import type { Where } from './where.ts'

/** The watches of a client, and which subscription of the open connection belongs to which. */
export class Subscriptions {
  readonly #calls: Calls
  readonly #watches = new Set<Subscription>()
  readonly #bySubscription = new Map<string, Subscription>()
  #online = false

  constructor(calls: Calls) {
    this.#calls = calls
  }

  open(where: Where | null, options: WatchOptions): Watch {
    const watch = new Subscription(
      {
        ask: (command, settle) => this.#calls.once(command, settle),
        bind: (subscription, owner) => void this.#bySubscription.set(subscription, owner),
        closed: (owner, subscription) => this.#closed(owner, subscription),
      },
      where,
      options,
    )
    this.#watches.add(watch)
    if (this.#online) watch.resume()
    return watch
  }

  /** Gives a frame to its watch; one of a subscription that was given up is dropped. */
  push(frame: Event | Snapshot): void {
    this.#bySubscription.get(frame.subscription)?.push(frame)
  }

  resume(): void {
    this.#online = true
    for (const watch of this.#watches) watch.resume()
  }

  lost(): void {
    this.#online = false
    this.#bySubscription.clear()
    for (const watch of this.#watches) watch.lost()
  }

  /** Ends every watch. */
  fail(error: Error | null): void {
    this.#online = false
    for (const watch of [...this.#watches]) watch.fail(error)
  }

  #closed(watch: Subscription, subscription: string | null): void {
    this.#watches.delete(watch)
    if (subscription === null || !this.#online) return
    this.#bySubscription.delete(subscription)
    this.#calls.once({ type: 'unsubscribe', subscription }, () => undefined)
  }
}
