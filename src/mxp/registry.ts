import { randomBytes } from 'node:crypto'
import type { Hub } from '../hub/hub.ts'
import { namespaceFull } from '../hub/namespace-full.ts'
import type { Namespace } from '../hub/namespace.ts'
import type { ReplicaAgent } from '../hub/replica-agent.ts'
import { toAgentRecord } from './agent-record.ts'
import { discoverPage } from './discover-page.ts'
import { MXP_FLAGS, type MxpMessage, type MxpType } from './message.ts'
import { BadPayload, type JsonObject, nameOf, parsePayload, toPayload } from './payload.ts'
import { parseRegister, type RegisterPayload, toMxpRegistration } from './registration.ts'
import { checkFlags, errorBody, RegistryError } from './registry-error.ts'

/** How long an agent stays that registered as the SDK's examples do: these never send a heartbeat. */
const EXAMPLE_STALE_MS = 86_400_000

/** What is never answered: an answer to an answer could go on for ever. */
const ANSWERS: ReadonlySet<MxpType> = new Set(['Response', 'Ack', 'Error'])

/**
 * The registry that an `MxpRegistryClient` needs, apart from how its messages come. Its agents live by heartbeats and hold no connection; they are
 * found by, and find, all others of the namespace.
 */
export class MxpRegistry {
  readonly #hub: Hub

  constructor(hub: Hub) {
    this.#hub = hub
  }

  /** The answer to a message, or null where it is none that may be answered. Never rejects. */
  async answer(message: MxpMessage): Promise<MxpMessage | null> {
    if (ANSWERS.has(message.type)) return null
    try {
      return await this.#serve(message)
    } catch (error) {
      return this.refuse(message, error)
    }
  }

  /** The Error that answers a message. */
  refuse(message: MxpMessage, error: unknown): MxpMessage {
    let body = errorBody(error)
    if (body === null) {
      this.#hub.log.error({ err: error }, 'mxp request failed')
      body = { error: 'the hub failed at this request; try again', code: 'INTERNAL' }
    }
    return reply(message, 'Error', toPayload(body))
  }

  #serve(message: MxpMessage): Promise<MxpMessage> {
    const { type, flags, payload } = message
    checkFlags(message)
    switch (type) {
      case 'AgentRegister':
        return this.#register(message, parsePayload(payload))
      case 'AgentDiscover':
        return this.#discover(message, parsePayload(payload))
      case 'AgentHeartbeat':
        return flags & MXP_FLAGS.FINAL
          ? this.#deregister(message, nameOf(parsePayload(payload), 'agent_id'))
          : this.#beat(message, nameOf(parsePayload(payload), 'agent_id'))
      default:
        throw new RegistryError(
          'UNSUPPORTED_TYPE',
          `${type} is not served over UDP, only AgentRegister, AgentDiscover and AgentHeartbeat; use the gateway`,
        )
    }
  }

  #namespace(): Promise<Namespace> {
    return this.#hub.namespace(this.#hub.settings.mxpNamespace)
  }

  async #register(message: MxpMessage, payload: JsonObject): Promise<MxpMessage> {
    const { mxpRules, mxpStaleMs } = this.#hub.settings
    const agent = parseRegister(payload)
    const registration = toMxpRegistration(agent, mxpRules)
    const namespace = await this.#namespace()
    const enrol = () =>
      namespace.core.registry.enrol(namespace.name, {
        agentId: agent.id,
        registration,
        door: 'mxp',
        staleMs: agent.isExample ? EXAMPLE_STALE_MS : mxpStaleMs,
        registeredAt: namespace.registeredBefore(agent.id),
      })
    let result = await enrol()
    if (result.outcome === 'name_taken' && isSuccessor(agent, namespace.replica.get(result.holder))) {
      await this.#unregister(namespace, result.holder)
      result = await enrol()
    }
    if (result.outcome === 'name_taken')
      throw new RegistryError('AGENT_NAME_EXISTS', `Agent name already exists: ${agent.name}`)
    if (result.outcome === 'full') throw namespaceFull(namespace)
    if (result.outcome !== 'registered')
      throw new RegistryError('AGENT_ID_EXISTS', belongsElsewhere(agent.id))
    namespace.onEvents(result.events)
    await namespace.reached(result.events.at(-1)?.revision ?? 0)
    if (agent.isExample)
      return { ...reply(message, 'Ack', new Uint8Array()), messageId: randomBytes(8).readBigUInt64LE() }
    return respond(message, { success: true, agent_id: agent.id, message: 'Agent registered' })
  }

  async #beat(message: MxpMessage, agentId: string): Promise<MxpMessage> {
    const namespace = await this.#namespace()
    const result = await namespace.core.registry.beat(namespace.name, {
      agentId,
      door: 'mxp',
      staleMs: this.#hub.settings.mxpStaleMs,
    })
    if (result.outcome !== 'alive') {
      return respond(message, {
        ...heartbeat(agentId, Date.now()),
        success: false,
        needs_register: true,
        message: `Agent not found: ${agentId}`,
      })
    }
    namespace.onEvents(result.events)
    namespace.onBeat(agentId, null, result.at)
    return respond(message, heartbeat(agentId, result.at))
  }

  /** Of an agent that is not registered nothing is left to do, so that is no failure. */
  async #deregister(message: MxpMessage, agentId: string): Promise<MxpMessage> {
    const namespace = await this.#namespace()
    await this.#unregister(namespace, agentId)
    const answer = heartbeat(agentId, Date.now())
    const left = namespace.replica.get(agentId)
    if (left === undefined || left.record.state.door === 'mxp') return respond(message, answer)
    return respond(message, { ...answer, success: false, message: belongsElsewhere(agentId) })
  }

  async #unregister(namespace: Namespace, agentId: string): Promise<void> {
    const result = await namespace.core.registry.leave(namespace.name, {
      agentId,
      fence: null,
      door: 'mxp',
      departure: 'unregister',
      graceMs: 0,
      marks: null,
    })
    if (result.outcome !== 'changed') return
    namespace.onEvents(result.events)
    await namespace.reached(result.events.at(-1)?.revision ?? 0)
  }

  async #discover(message: MxpMessage, payload: JsonObject): Promise<MxpMessage> {
    const capability = nameOf(payload, 'capability')
    const offset = payload.offset ?? 0
    if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0)
      throw new BadPayload('offset must be an integer, 0 or more')
    const { replica } = await this.#namespace()
    const agents = [...replica.withCapability(capability)].filter(
      ({ record }) => record.state.status === 'online',
    )
    const text = discoverPage(capability, agents, offset, (index) => {
      const agent = agents[index]
      if (!agent) throw new RangeError(`no agent ${index}`)
      return toAgentRecord(agent.info)
    })
    return reply(message, 'Response', new TextEncoder().encode(text))
  }
}

/**
 * Whether who has the name is a newcomer of the examples' dialect before it was started anew: these draw an id a start, and as they never beat, the one
 * before would seem to live for a day. Nobody else is at its address.
 */
function isSuccessor({ isExample, address }: RegisterPayload, holder: ReplicaAgent | undefined): boolean {
  const { state, registration } = holder?.record ?? {}
  return isExample && state?.door === 'mxp' && registration?.address === address
}

const belongsElsewhere = (agentId: string): string =>
  `Agent id belongs to an agent that did not register over UDP: ${agentId}`

const heartbeat = (agentId: string, at: number) => ({
  success: true,
  needs_register: false,
  agent_id: agentId,
  timestamp: new Date(at).toISOString(),
})

function reply({ messageId, traceId }: MxpMessage, type: MxpType, payload: Uint8Array): MxpMessage {
  return { type, flags: 0, messageId, traceId, payload }
}

const respond = (message: MxpMessage, body: object): MxpMessage => reply(message, 'Response', toPayload(body))
