import type { RegistryEvent } from '../core/registry.ts'
import type { Registry } from '../core/registry.ts'
import { type Reader, Subscription, type SubscriptionRequest, toSeen } from './subscription.ts'
import type { Replica } from './replica.ts'

/** How many events are read from the store at once. */
const PAGE = 1_000

/** The live subscriptions of one namespace on this hub. */
export class Watchers {
  readonly #namespace: string
  readonly #registry: Registry
  readonly #replica: Replica
  readonly #reached: (revision: number) => Promise<void>
  readonly #subscriptions = new Set<Subscription>()

  /** @param reached resolves when the replica has come to a revision */
  constructor(
    namespace: string,
    registry: Registry,
    replica: Replica,
    reached: (revision: number) => Promise<void>,
  ) {
    this.#namespace = namespace
    this.#registry = registry
    this.#replica = replica
    this.#reached = reached
  }

  /** Somebody asked for `agent.heartbeat` by name. */
  get heartbeatsWanted(): boolean {
    for (const subscription of this.#subscriptions) if (subscription.wants('agent.heartbeat')) return true
    return false
  }

  /**
   * @param answer called with the fields of the result, before anything of the subscription is pushed
   * @throws MeshError `store_unavailable` where `since` is given and the store does not answer
   */
  async open(
    request: SubscriptionRequest,
    since: number | null,
    reader: Reader,
    answer: (fields: string) => void,
  ): Promise<Subscription> {
    const subscription = new Subscription(request, reader)
    if (since === null) {
      answer(subscription.list(this.#replica, false))
      this.#subscriptions.add(subscription)
    } else {
      // Events that arrive while the older ones are read are held back, so none is missed in between.
      subscription.hold()
      this.#subscriptions.add(subscription)
      try {
        const events = await this.#eventsSince(since)
        answer(
          events ? subscription.resume(this.#replica, since, events) : subscription.list(this.#replica, true),
        )
      } catch (error) {
        this.#subscriptions.delete(subscription)
        throw error
      }
    }
    subscription.pump(this.#replica)
    return subscription
  }

  /** All events after `since`; null where they are not kept any more. */
  async #eventsSince(since: number): Promise<RegistryEvent[] | null> {
    const found: RegistryEvent[] = []
    for (;;) {
      const { events, complete } = await this.#registry.since(
        this.#namespace,
        found.at(-1)?.revision ?? since,
        PAGE,
      )
      if (!complete) return null
      found.push(...events)
      if (events.length < PAGE) break
    }
    // The client may have heard more from another hub than this one has: then this one catches up first.
    await this.#reached(found.at(-1)?.revision ?? since)
    return found
  }

  close(subscription: Subscription): void {
    this.#subscriptions.delete(subscription)
  }

  /** The connection of `subscription` has room again. */
  pump(subscription: Subscription): void {
    subscription.pump(this.#replica)
  }

  onEvent(event: RegistryEvent): void {
    if (this.#subscriptions.size === 0) return
    const agent =
      event.agent && event.event !== 'agent.unregistered' ? this.#replica.get(event.agent.id) : undefined
    const seen = agent ? { event, agentText: agent.text } : toSeen(event)
    for (const subscription of this.#subscriptions) subscription.take(seen)
  }

  onHeartbeat(agentId: string, at: number): void {
    const agent = this.#replica.get(agentId)
    if (!agent || this.#subscriptions.size === 0) return
    const fields = `"agentId":${JSON.stringify(agentId)},"agent":${agent.text}`
    for (const subscription of this.#subscriptions) {
      subscription.takeUnstored('agent.heartbeat', agent, at, fields, this.#replica.revision)
    }
  }

  onDead(dead: {
    readonly messageId: string | null
    readonly agentId: string | null
    readonly capability: string | null
    readonly reason: string
    readonly at: number
  }): void {
    const { messageId, agentId, capability, reason } = dead
    const fields = JSON.stringify({ messageId, agentId, capability, reason }).slice(1, -1)
    for (const subscription of this.#subscriptions) {
      subscription.takeUnstored('message.dead_lettered', null, dead.at, fields, this.#replica.revision)
    }
  }

  /** The replica was loaded anew: events are lost, so every list begins again. */
  onReset(): void {
    for (const subscription of this.#subscriptions) subscription.restart(this.#replica)
  }
}
