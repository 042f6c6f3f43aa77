import type { Registration } from '../../../protocol/agent.ts'

/** Which agents have a group or a capability. */
export class Members {
  readonly #groups = new Map<string, Set<string>>()
  readonly #capabilities = new Map<string, Set<string>>()

  of(kind: 'group' | 'capability', value: string): Iterable<string> {
    return (kind === 'group' ? this.#groups : this.#capabilities).get(value) ?? []
  }

  count(kind: 'group' | 'capability', value: string): number {
    return (kind === 'group' ? this.#groups : this.#capabilities).get(value)?.size ?? 0
  }

  /** Null: not registered, before or after. */
  replace(agentId: string, before: Registration | null, after: Registration | null): void {
    if (before === after) return
    replaceIn(this.#groups, agentId, before?.groups ?? [], after?.groups ?? [])
    replaceIn(this.#capabilities, agentId, before?.capabilities ?? [], after?.capabilities ?? [])
  }
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
