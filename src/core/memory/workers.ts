import type { AgentRecord } from '../registry.ts'

const NONE: readonly string[] = []

/** How many connected agents have a capability. */
export class Workers {
  readonly #counts = new Map<string, number>()

  /** Whether a connected agent other than this one has it. */
  hasOther(capability: string, record: AgentRecord): boolean {
    const own = capabilitiesOf(record).includes(capability) ? 1 : 0
    return (this.#counts.get(capability) ?? 0) > own
  }

  /** Null: not registered, before or after. */
  replace(before: AgentRecord | null, after: AgentRecord | null): void {
    const lost = capabilitiesOf(before)
    const won = capabilitiesOf(after)
    if (lost === won) return
    for (const capability of new Set(lost)) this.#add(capability, -1)
    for (const capability of new Set(won)) this.#add(capability, 1)
  }

  #add(capability: string, change: number): void {
    const count = (this.#counts.get(capability) ?? 0) + change
    if (count === 0) this.#counts.delete(capability)
    else this.#counts.set(capability, count)
  }
}

const capabilitiesOf = (record: AgentRecord | null): readonly string[] =>
  record?.state.connected === true ? record.registration.capabilities : NONE
