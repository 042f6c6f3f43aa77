import { isOwnId, type Registration, show } from '../../protocol/agent.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Door } from '../core/registry.ts'
import type { SendOutcome } from '../core/sends.ts'
import { within } from '../observability/tracing.ts'
import { DoorSend } from './door-send.ts'
import type { Hub } from './hub.ts'
import { messageText } from './message-text.ts'
import { leaderOf } from './door-leader.ts'
import type { Namespace } from './namespace.ts'
import { namespaceFull } from './namespace-full.ts'
import { promptly, refreshed } from './promptly.ts'
import type { Replica } from './replica.ts'
import { route } from './router.ts'

/** A message as a door hands it in. */
export interface DoorMessage {
  readonly id: string
  /** An agent of this door, or an id that nobody has. */
  readonly source: string
  /** Who has to own the source where it is registered; null: ownership is not looked at. */
  readonly owner: string | null
  /** Whether the source may be an id that nobody has. */
  readonly isFree: boolean
  /** Null: everybody but the source. */
  readonly target: string | null
  readonly messageType: string
  /** The type as its sender wrote it, where `messageType` cannot say it. */
  readonly customType: string | null
  /** JSON in one line. */
  readonly payload: string
  readonly correlationId: string | null
  /** The trace that it belongs to (W3C Trace Context), or null. */
  readonly traceparent: string | null
}

/** A sign of life, and what it says. */
export interface Beat {
  readonly statusReason: string | null
  readonly metrics: Readonly<Record<string, number>> | null
}

export interface Beaten {
  readonly known: boolean
  readonly leader: string | null
}

const notOwner = (agentId: string, owner: string | null): MeshError =>
  new MeshError('forbidden', `agent ${show(agentId)} was registered by another principal than ${show(owner)}`)

/**
 * Where agents without a connection come in: one door of this hub into one namespace. Everything it does it does for agents of this door
 * only, and where an `owner` is given (the subject of a token; null while authentication is off), for those that were registered by that one, which the
 * store sees to: else MeshError `forbidden`. All of it rejects with MeshError `store_unavailable` within a few seconds where the store does not answer.
 */
export class Doorway {
  readonly #hub: Hub
  readonly #door: Door
  readonly #namespace: string
  readonly #staleMs: number

  /** @param staleMs milliseconds until an agent's silence makes it offline */
  constructor(hub: Hub, door: Door, namespace: string, staleMs: number) {
    this.#hub = hub
    this.#door = door
    this.#namespace = namespace
    this.#staleMs = staleMs
  }

  #open(): Promise<Namespace> {
    return this.#hub.namespace(this.#namespace)
  }

  /** The registry as it was when this was asked, at least; while the store is away, as this hub knows it. */
  async registry(): Promise<Replica> {
    return (await refreshed(await promptly(this.#open()))).replica
  }

  /**
   * Registers an agent, or refreshes it; this hub's registry shows it then.
   * @throws MeshError `agent_taken` where the id is not of this door, `name_taken`, `quota_exceeded`
   */
  enrol(agentId: string, registration: Registration, owner: string | null): Promise<Replica> {
    return promptly(this.#enrol(agentId, registration, owner))
  }

  async #enrol(agentId: string, registration: Registration, owner: string | null): Promise<Replica> {
    const namespace = await this.#open()
    // Where the store has lost it, it is still its owner's.
    const before = namespace.former(agentId)?.state.owner ?? null
    const isOwn = owner !== null && isOwnId(owner, agentId) && !isOwnId(before ?? owner, agentId)
    if (owner !== null && before !== null && before !== owner && !isOwn) throw notOwner(agentId, owner)
    const result = await this.#hub.core.registry.enrol(this.#namespace, {
      agentId,
      registration,
      door: this.#door,
      staleMs: this.#staleMs,
      registeredAt: namespace.registeredBefore(agentId),
      owner: owner ?? before,
    })
    if (result.outcome === 'not_owner') throw notOwner(agentId, owner)
    if (result.outcome === 'held') {
      const text = `agent ${show(agentId)} is not one of this door; choose another id`
      throw new MeshError('agent_taken', text)
    }
    if (result.outcome === 'name_taken') {
      const text = `name ${show(registration.name)} belongs to agent ${show(result.holder)}; choose another`
      throw new MeshError('name_taken', text)
    }
    if (result.outcome === 'full') throw namespaceFull(namespace)
    namespace.onEvents(result.events)
    const last = result.events.at(-1)
    await namespace.reached(last?.revision ?? 0)
    namespace.onBeat(agentId, null, last?.at ?? Date.now())
    return namespace.replica
  }

  /** A sign of life. Answers whether the agent is known, and who leads (null: nobody). */
  beat(agentId: string, beat: Beat, owner: string | null): Promise<Beaten> {
    return promptly(this.#beat(agentId, beat, owner))
  }

  async #beat(agentId: string, { statusReason, metrics }: Beat, owner: string | null): Promise<Beaten> {
    const namespace = await this.#open()
    const { registry } = this.#hub.core
    const request = { agentId, door: this.#door, staleMs: this.#staleMs, statusReason, owner }
    let result = await registry.beat(this.#namespace, request)
    const former = result.outcome === 'unknown' ? namespace.former(agentId) : null
    if (former?.state.door === this.#door) {
      if (owner !== null && former.state.owner !== owner) throw notOwner(agentId, owner)
      // It will not register again: where the store has lost it, this hub has not.
      await this.#enrol(agentId, former.registration, owner)
      result = await registry.beat(this.#namespace, request)
    }
    if (result.outcome === 'not_owner') throw notOwner(agentId, owner)
    if (result.outcome === 'unknown') {
      await namespace.refresh()
      return { known: false, leader: leaderOf(namespace.replica) }
    }
    namespace.onEvents(result.events)
    await namespace.reached(result.events.at(-1)?.revision ?? 0)
    namespace.onBeat(agentId, metrics, result.at)
    return { known: true, leader: result.leader ?? leaderOf(namespace.replica) }
  }

  /** Who may lead no more does not: nothing else of its registration changes. Answers who leads then (null: nobody). */
  async stepBack(agentId: string, owner: string | null): Promise<string | null> {
    const { replica } = await promptly(this.#open())
    const record = replica.get(agentId)?.record
    if (record?.state.door !== this.#door || !record.registration.leaderEligible) return leaderOf(replica)
    return leaderOf(await this.enrol(agentId, { ...record.registration, leaderEligible: false }, owner))
  }

  /** Unregisters an agent of this door; answers whether there was one. */
  leave(agentId: string, owner: string | null): Promise<boolean> {
    return promptly(this.#leave(agentId, owner))
  }

  async #leave(agentId: string, owner: string | null): Promise<boolean> {
    const namespace = await this.#open()
    const result = await this.#hub.core.registry.leave(this.#namespace, {
      agentId,
      fence: null,
      door: this.#door,
      owner,
      departure: 'unregister',
      graceMs: 0,
      marks: null,
    })
    if (result.outcome === 'not_owner') throw notOwner(agentId, owner)
    const former = namespace.former(agentId)
    const wasHere = former?.state.door === this.#door
    if (result.outcome === 'fenced' && wasHere && owner !== null && former.state.owner !== owner)
      throw notOwner(agentId, owner)
    namespace.forgetFormer(agentId)
    if (result.outcome === 'fenced') return wasHere
    namespace.onEvents(result.events)
    await namespace.reached(result.events.at(-1)?.revision ?? 0)
    return true
  }

  /**
   * Stores a message; answers who will get it.
   * @throws MeshError `unknown_target`, `forbidden` where the source is an agent of another door or owner, `inbox_full`, `quota_exceeded`, `payload_too_large`
   */
  send(message: DoorMessage): Promise<readonly string[]> {
    return promptly(this.#send(message))
  }

  async #send(message: DoorMessage): Promise<readonly string[]> {
    const namespace = await this.#open()
    const { id, source, owner, isFree, target, messageType, customType, payload, correlationId } = message
    const { traceparent: given } = message
    const to = target === null ? ({ all: true } as const) : { agent: target }
    const frame = { messageType, correlationId }
    const way = route({ type: 'send', ref: 0, to, payload: null, ...frame }, namespace.replica)
    const from = JSON.stringify(source)
    const { tracing } = this.#hub
    const span = tracing?.send(given, { id, namespace: namespace.name, from: source, via: way.via }) ?? null
    const traceparent = span?.traceparent ?? given
    const text = messageText(id, from, way, frame, payload, Date.now(), null, traceparent, customType)
    const sender = {
      agentId: source,
      fence: 0,
      hub: namespace.hub,
      producer: null,
      door: this.#door,
      owner,
      registered: !isFree,
    }
    const send = new DoorSend(namespace.metrics, sender, way.to, text)
    return within(span, async () => {
      await this.#checkSize(namespace, target, text)
      namespace.commit.add(send)
      return this.#recipients(namespace, message, send, await send.outcome)
    })
  }

  /** @throws MeshError */
  #recipients(
    namespace: Namespace,
    { id, source, owner, target }: DoorMessage,
    send: DoorSend,
    outcome: SendOutcome,
  ): readonly string[] {
    switch (outcome.outcome) {
      case 'stored':
        send.offerHere(namespace, outcome.number, id)
        return [outcome.agentId]
      case 'broadcast':
        return outcome.agentIds ?? []
      case 'refused':
        if (outcome.code === 'unknown_target') {
          throw new MeshError('unknown_target', `no agent ${show(target)}`)
        }
        throw new MeshError(outcome.code, ERRORS[outcome.code].sentence)
      case 'fenced':
        throw new MeshError(
          'forbidden',
          owner === null
            ? `agent ${show(source)} is not one of this door`
            : `agent ${show(source)} was not registered at this door by ${show(owner)}`,
        )
      case 'queued':
      case 'counted':
      case 'duplicate':
      case 'moved':
      case 'postponed':
      case 'gap':
      case 'too_old':
        throw new Error(`a door's send cannot end as ${outcome.outcome}`)
    }
  }

  /** What agents with a connection may get has to fit into one frame of theirs; where none of them gets it, it may be larger. */
  async #checkSize(namespace: Namespace, target: string | null, text: string): Promise<void> {
    const { maxMessageBytes } = this.#hub.settings
    if (text.length * 3 <= maxMessageBytes || Buffer.byteLength(text) <= maxMessageBytes) return
    await namespace.refresh()
    const { replica } = namespace
    const recipients = target === null ? [...replica.all()] : [replica.get(target)]
    if (recipients.every((one) => one === undefined || one.record.state.door !== undefined)) return
    throw new MeshError(
      'payload_too_large',
      `the message has ${Buffer.byteLength(text)} bytes; agents with a connection take at most ${maxMessageBytes}`,
    )
  }

  /** The frames that wait for an agent of this door, in order; nothing is taken. */
  async peek(agentId: string, maxBytes: number, owner: string | null): Promise<readonly string[]> {
    const member = { agentId, door: this.#door, owner }
    const { inboxes } = this.#hub.core
    const texts = await promptly(this.#open().then(() => inboxes.peek(this.#namespace, member, maxBytes)))
    if (texts === 'not_owner') throw notOwner(agentId, owner)
    return texts
  }

  /** Takes messages out of the inbox of an agent of this door. */
  async acknowledge(agentId: string, messageIds: readonly string[], owner: string | null): Promise<void> {
    const member = { agentId, door: this.#door, owner }
    const { inboxes } = this.#hub.core
    const outcome = await promptly(
      this.#open().then(() => inboxes.acknowledge(this.#namespace, member, messageIds)),
    )
    if (outcome === 'not_owner') throw notOwner(agentId, owner)
  }
}
