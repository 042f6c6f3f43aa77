import type { Metrics, PushKind, PushPath } from '../observability/metrics.ts'
import { createdAtOf } from './message-text.ts'
import { sourceOf, type Place } from './place.ts'

const KINDS: readonly PushKind[] = ['direct', 'reply', 'broadcast']

/** What a message at that place counts as. */
export const kindOf = (place: Place): PushKind => KINDS[sourceOf(place)] ?? 'direct'

/** What is counted and measured of the messages that one client is pushed. */
export class Flight {
  readonly #metrics: Metrics
  /** Of those that are measured: made when there is the first. */
  #pushedAt: Map<string, number> | null = null

  constructor(metrics: Metrics) {
    this.#metrics = metrics
  }

  /** Pushed for the `attempt`th time; `text` is the frame. */
  pushed(kind: PushKind, path: PushPath, id: string, text: string, attempt: number): void {
    if (!this.#metrics.pushed(kind, attempt)) return
    this.#pushedAt ??= new Map()
    this.#pushedAt.set(id, performance.now())
    const createdAt = attempt === 1 ? createdAtOf(text) : null
    // Another hub's clock may be ahead of this one's.
    if (createdAt !== null) this.#metrics.delivered(kind, path, Math.max(0, Date.now() - createdAt))
  }

  acknowledged(kind: PushKind, id: string): void {
    this.#metrics.acknowledged(kind)
    const pushedAt = this.#pushedAt?.get(id)
    if (pushedAt === undefined) return
    this.#pushedAt?.delete(id)
    this.#metrics.processed(kind, performance.now() - pushedAt)
  }

  rejected(kind: PushKind, id: string): void {
    this.#metrics.rejected(kind)
    this.lost(id)
  }

  /** The client has it no more. */
  lost(id: string): void {
    this.#pushedAt?.delete(id)
  }
}
