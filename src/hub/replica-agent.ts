import type { AgentInfo } from '../../protocol/agent.ts'
import type { AgentRecord } from '../core/registry.ts'

/** An agent as this hub knows it. */
export class ReplicaAgent {
  #record: AgentRecord
  #metrics: Readonly<Record<string, number>> = {}
  #lastHeartbeatAt = 0
  #isLeader = false
  #text: string | null = null

  constructor(record: AgentRecord) {
    this.#record = record
    this.#lastHeartbeatAt = record.state.registeredAt
  }

  get record(): AgentRecord {
    return this.#record
  }

  get metrics(): Readonly<Record<string, number>> {
    return this.#metrics
  }

  get lastHeartbeatAt(): number {
    return this.#lastHeartbeatAt
  }

  beat(metrics: Readonly<Record<string, number>> | null, at: number): void {
    if (metrics) this.#metrics = metrics
    this.#lastHeartbeatAt = at
    this.#text = null
  }

  /** The registry changed it at `heardAt`; 0: it was not the agent that changed it. */
  become(record: AgentRecord, heardAt: number): void {
    // Metrics belong to a session; a registration anew begins without them.
    if (!record.state.connected && record.state.door === undefined) this.#metrics = {}
    this.#record = record
    this.#lastHeartbeatAt = Math.max(this.#lastHeartbeatAt, record.state.registeredAt, heardAt)
    this.#text = null
  }

  setLeader(isLeader: boolean): void {
    this.#isLeader = isLeader
    this.#text = null
  }

  get info(): AgentInfo {
    const { id, registration, state } = this.record
    return {
      id,
      name: registration.name,
      capabilities: registration.capabilities,
      version: registration.version,
      profiles: registration.profiles,
      groups: registration.groups,
      address: registration.address,
      metadata: registration.metadata,
      concurrency: registration.concurrency,
      status: state.status,
      statusReason: state.statusReason,
      connected: state.connected,
      metrics: this.#metrics,
      isLeader: this.#isLeader,
      transport: registration.transport,
      hub: state.hub,
      registeredAt: new Date(state.registeredAt).toISOString(),
      lastHeartbeat: new Date(this.#lastHeartbeatAt).toISOString(),
      revision: state.revision,
    }
  }

  /** `info` as JSON, kept until something changes: lists of thousands are built from it. */
  get text(): string {
    this.#text ??= JSON.stringify(this.info)
    return this.#text
  }
}
