import type { ReplicaAgent } from './replica-agent.ts'

/** Where an agent stands in the order of `discover`: by name, then by id. */
export interface Place {
  readonly name: string
  readonly id: string
}

export const placeOf = ({ record }: ReplicaAgent): Place => ({
  name: record.registration.name,
  id: record.id,
})

/** Less than 0 where `agent` stands before `place`, 0 where it stands there. */
function compare({ record }: ReplicaAgent, { name, id }: Place): number {
  const own = record.registration.name
  if (own !== name) return own < name ? -1 : 1
  if (record.id === id) return 0
  return record.id < id ? -1 : 1
}

/** Agents in the order of `discover`, so that a page of them is found without sorting. */
export class SortedAgents {
  readonly #agents: ReplicaAgent[]

  /** @param agents in any order; none twice */
  constructor(agents: Iterable<ReplicaAgent> = []) {
    this.#agents = [...agents].toSorted((a, b) => compare(a, placeOf(b)))
  }

  get size(): number {
    return this.#agents.length
  }

  [Symbol.iterator](): IterableIterator<ReplicaAgent> {
    return this.#agents.values()
  }

  add(agent: ReplicaAgent): void {
    const place = placeOf(agent)
    const index = this.#indexOf(place)
    const there = this.#agents[index]
    if (there && compare(there, place) === 0) return
    this.#agents.splice(index, 0, agent)
  }

  delete(agent: ReplicaAgent): void {
    const index = this.#indexOf(placeOf(agent))
    if (this.#agents[index] === agent) this.#agents.splice(index, 1)
  }

  /** Those that `matches` after `after`, at most `limit`, and whether there are more. */
  page(
    matches: (agent: ReplicaAgent) => boolean,
    after: Place | null,
    limit: number,
  ): { agents: ReplicaAgent[]; more: boolean } {
    const agents: ReplicaAgent[] = []
    for (let index = after ? this.#indexOf(after) : 0; index < this.#agents.length; index++) {
      const agent = this.#agents[index]
      if (!agent || (after && compare(agent, after) === 0) || !matches(agent)) continue
      if (agents.length === limit) return { agents, more: true }
      agents.push(agent)
    }
    return { agents, more: false }
  }

  /** The index of `place`, or where it belongs. */
  #indexOf(place: Place): number {
    let low = 0
    let high = this.#agents.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const agent = this.#agents[middle]
      if (agent && compare(agent, place) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
