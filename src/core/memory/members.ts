import type { AgentRecord } from '../registry.ts'

/** Which agents have a group or a capability. `heard`: a capability of those that live by heartbeats, who take no work. */
export class Members {
  readonly #groups = new Map<string, Set<string>>()
  readonly #capabilities = new Map<string, Set<string>>()
  readonly #heard = new Map<string, Set<string>>()

  of(kind: 'group' | 'capability' | 'heard', value: string): Iterable<string> {
    const sets = { group: this.#groups, capability: this.#capabilities, heard: this.#heard }[kind]
    return sets.get(value) ?? []
  }

  count(kind: 'group' | 'capability', value: string): number {
    return (kind === 'group' ? this.#groups : this.#capabilities).get(value)?.size ?? 0
  }

  /** Null: not registered, before or after. */
  replace(agentId: string, former: AgentRecord | null, latter: AgentRecord | null): void {
    const before = former?.registration
    const after = latter?.registration
    if (before === after) return
    replaceIn(this.#groups, agentId, before?.groups ?? [], after?.groups ?? [])
    replaceIn(this.#capabilities, agentId, capabilitiesOf(former, false), capabilitiesOf(latter, false))
    replaceIn(this.#heard, agentId, capabilitiesOf(former, true), capabilitiesOf(latter, true))
  }
}

/** None where the agent lives the other way. */
function capabilitiesOf(record: AgentRecord | null, byHeartbeats: boolean): readonly string[] {
  return record !== null && (record.state.door !== undefined) === byHeartbeats
    ? record.registration.capabilities
    : []
}

function replaceIn(
  sets: Map<string, Set<string>>,
  agentId: string,
  before: readonly string[],
  after: readonly string[],
): void {
  for (const value of before) {
    const members = sets.get(value)
    members?.delete(agentId)
    if (members?.size === 0) sets.delete(value)
  }
  for (const value of after) {
    const members = sets.get(value)
    if (members === undefined) sets.set(value, new Set([agentId]))
    else members.add(agentId)
  }
}
