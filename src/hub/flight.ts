import type { Metrics, PushKind, PushPath } from '../observability/metrics.ts'
import type { Traced, Tracing } from '../observability/tracing.ts'
import { createdAtOf, traceparentOf } from './message-text.ts'
import { sourceOf, type Place } from './place.ts'

const KINDS: readonly PushKind[] = ['direct', 'reply', 'broadcast']

/** What a message at that place counts as. */
export const kindOf = (place: Place): PushKind => KINDS[sourceOf(place)] ?? 'direct'

/** What is counted and measured of the messages that one client is pushed. */
export class Flight {
  readonly #metrics: Metrics
  /** Null: nobody traces. */
  readonly #tracing: Tracing | null
  readonly #namespace: string
  readonly #agentId: string
  /** Of those that are measured: made when there is the first. */
  #pushedAt: Map<string, number> | null = null
  #spans: Map<string, Traced> | null = null

  constructor(metrics: Metrics, tracing: Tracing | null, namespace: string, agentId: string) {
    this.#metrics = metrics
    this.#tracing = tracing
    this.#namespace = namespace
    this.#agentId = agentId
  }

  /** Pushed for the `attempt`th time; `text` is the frame. */
  pushed(kind: PushKind, path: PushPath, id: string, text: string, attempt: number): void {
    if (this.#tracing !== null) this.#trace(this.#tracing, kind, id, text, attempt)
    if (!this.#metrics.pushed(kind, attempt)) return
    this.#pushedAt ??= new Map()
    this.#pushedAt.set(id, performance.now())
    const createdAt = attempt === 1 ? createdAtOf(text) : null
    // Another hub's clock may be ahead of this one's.
    if (createdAt !== null) this.#metrics.delivered(kind, path, Math.max(0, Date.now() - createdAt))
  }

  #trace(tracing: Tracing, kind: PushKind, id: string, text: string, attempt: number): void {
    const traceparent = traceparentOf(text)
    if (traceparent === null) return
    const span = tracing.deliver(traceparent, {
      'messaging.operation.name': 'deliver',
      'messaging.message.id': id,
      'meshwire.namespace': this.#namespace,
      'meshwire.agent': this.#agentId,
      'meshwire.kind': kind,
      'meshwire.attempt': attempt,
    })
    if (span) (this.#spans ??= new Map()).set(id, span)
  }

  #endSpan(id: string, error: string | null): void {
    if (this.#spans === null) return
    this.#spans.get(id)?.end(error)
    this.#spans.delete(id)
  }

  acknowledged(kind: PushKind, id: string): void {
    this.#endSpan(id, null)
    this.#metrics.acknowledged(kind)
    const times = this.#pushedAt
    if (times === null || times.size === 0) return
    const pushedAt = times.get(id)
    if (pushedAt === undefined) return
    times.delete(id)
    this.#metrics.processed(kind, performance.now() - pushedAt)
  }

  rejected(kind: PushKind, id: string): void {
    this.#endSpan(id, 'rejected')
    this.#metrics.rejected(kind)
    this.#pushedAt?.delete(id)
  }

  /** It was taken away from the client. */
  lost(id: string): void {
    this.#endSpan(id, 'revoked')
    this.#pushedAt?.delete(id)
  }

  /** The session is over. */
  end(): void {
    for (const span of this.#spans?.values() ?? []) span.end('disconnected')
    this.#spans = null
  }
}
