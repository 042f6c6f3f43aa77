import type { HubServer } from '../../src/server.ts'
import { MXP_FLAGS } from '../../src/mxp/index.ts'
import { jsonOf, message, MxpUdp } from './mxp-udp.ts'

/** What an agent of the MXP SDK registers. */
export interface MxpAgent {
  readonly id: string
  readonly name: string
  readonly capabilities: readonly string[]
  readonly address: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** Consecutive failed heartbeats after which the genuine client registers again. */
const FAILURES_MAX = 3

/** `MxpRegistryClient` of the MXP SDK, as it was observed. */
export class MxpRegistryClient implements AsyncDisposable {
  readonly #udp: MxpUdp
  readonly #agent: MxpAgent
  #failures = 0
  registrations = 0

  private constructor(udp: MxpUdp, agent: MxpAgent) {
    this.#udp = udp
    this.#agent = agent
  }

  static async open(hub: HubServer, agent: MxpAgent): Promise<MxpRegistryClient> {
    return new MxpRegistryClient(await MxpUdp.open(hub), agent)
  }

  /** @throws Error with what an Error answer says, or that the registration was refused */
  async register(): Promise<void> {
    const answer = await this.#udp.call(message('AgentRegister', this.#agent))
    const json = jsonOf(answer)
    if (answer.type === 'Error') throw new Error(String(json.error))
    for (const field of ['success', 'agent_id', 'message'])
      if (!(field in json)) throw new Error(`missing field \`${field}\``)
    if (json.success !== true) throw new Error(String(json.message))
    this.registrations++
  }

  /** One beat of its timer: whether it succeeded; after three that failed it registers again. */
  async beat(): Promise<boolean> {
    const ok = await this.#heartbeat()
    this.#failures = ok ? 0 : this.#failures + 1
    if (this.#failures >= FAILURES_MAX) {
      this.#failures = 0
      await this.register()
    }
    return ok
  }

  async #heartbeat(): Promise<boolean> {
    const answer = await this.#udp.call(message('AgentHeartbeat', { agent_id: this.#agent.id }))
    if (answer.type === 'Error') return false
    const { success, needs_register: needsRegister, agent_id: id, timestamp } = jsonOf(answer)
    if (typeof success !== 'boolean' || typeof needsRegister !== 'boolean') throw new Error('wrong shape')
    if (id !== this.#agent.id || Number.isNaN(Date.parse(String(timestamp)))) throw new Error('wrong shape')
    return success && !needsRegister
  }

  /** @throws Error unless it is answered `success: true` */
  async deregister(): Promise<void> {
    const flags = MXP_FLAGS.FINAL
    const answer = await this.#udp.call(message('AgentHeartbeat', { agent_id: this.#agent.id }, { flags }))
    if (answer.type !== 'Response' || jsonOf(answer).success !== true) throw new Error('not deregistered')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#udp[Symbol.asyncDispose]()
  }
}
