import type { Namespace } from './namespace.ts'

/**
 * Whether the silence of agents that live by heartbeats is their own. While the store is away, or this hub does not get its turn, nobody's heartbeats
 * are heard; afterwards every one of them has its whole time again, and nobody is made offline for an outage.
 */
export class Silence {
  /** Namespace → since when it has been listened to without a break. */
  readonly #since = new WeakMap<Namespace, number>()
  readonly #lookedAt = new WeakMap<Namespace, number>()

  /** Somebody is about to look for those who are silent. */
  look(namespace: Namespace, now: number, staleMs: number): void {
    const before = this.#lookedAt.get(namespace)
    this.#lookedAt.set(namespace, now)
    const stoodStill = before !== undefined && now - before > Math.max(staleMs / 2, 2_000)
    if (stoodStill || !this.#since.has(namespace)) this.#since.set(namespace, now)
  }

  /** The store did not answer. */
  interrupt(namespace: Namespace): void {
    this.#since.delete(namespace)
  }

  /** Whether it has been listened to for so long that who was not heard was silent. */
  counts(namespace: Namespace, now: number, staleMs: number): boolean {
    const since = this.#since.get(namespace)
    return since !== undefined && now - since >= staleMs
  }
}
