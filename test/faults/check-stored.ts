import { acceptedOf, agentsOf, entriesOf, type Entry, type History, put } from './history.ts'
import { forgettable } from './losses.ts'
import { type Violation, violation } from './violation.ts'

/** What became of every message: processed by whom, given up for whom, still stored for whom. */
class Fates {
  readonly #agents: ReadonlyMap<string, string>
  readonly #processed = new Map<string, Entry[]>()
  readonly #dead = new Map<string, Entry[]>()
  readonly #kept = new Map<string, Entry[]>()
  readonly #all = new Map<string, Entry[]>()

  constructor(history: History) {
    this.#agents = agentsOf(history)
    for (const entry of history) {
      if ('key' in entry) put(this.#all, entry.key, entry)
      if (entry.kind === 'processed') put(this.#processed, entry.id, entry)
      else if (entry.kind === 'dead' && entry.id !== null) put(this.#dead, entry.id, entry)
      else if (entry.kind === 'kept') put(this.#kept, entry.id, entry)
    }
  }

  /** Null: by anybody. */
  isOver(id: string, agent: string | null): boolean {
    const processed = this.#processed.get(id) ?? []
    if (agent === null) return processed.length > 0 || this.#dead.has(id)
    return (
      processed.some((entry) => 'client' in entry && this.#agents.get(entry.client) === agent) ||
      (this.#dead.get(id) ?? []).some((entry) => entry.kind === 'dead' && entry.agent === agent)
    )
  }

  isKept(id: string, agent: string | null): boolean {
    const kept = this.#kept.get(id) ?? []
    return kept.some((entry) => agent === null || (entry.kind === 'kept' && entry.agent === agent))
  }

  of(key: string): History {
    return this.#all.get(key) ?? []
  }
}

/** Agents that still owe the processing of a message; `agent` null: somebody does. */
export interface Owing {
  readonly key: string
  readonly id: string
  readonly agent: string | null
  /** The store may have forgotten it. */
  readonly mayBeLost: boolean
}

function owingOf(history: History, fates: Fates): Owing[] {
  const lost = forgettable(history)
  const owing: Owing[] = []
  for (const [key, { sent, answered }] of acceptedOf(history)) {
    for (const agent of sent.owed ?? [null]) {
      if (!fates.isOver(answered.id, agent))
        owing.push({ key, id: answered.id, agent, mayBeLost: lost.has(key) })
    }
  }
  return owing
}

/** What was answered `ok` and is neither processed nor given up. */
export const outstanding = (history: History): Owing[] => owingOf(history, new Fates(history))

/** Of these, at the end: what the store has forgotten, and may have. */
export function forgotten(history: History): Owing[] {
  const fates = new Fates(history)
  return owingOf(history, fates).filter(({ id, agent, mayBeLost }) => mayBeLost && !fates.isKept(id, agent))
}

/**
 * I1. Each message that was answered `ok` is processed by each agent it is owed to, or is a dead letter, or is still stored; but
 * what a store may have forgotten may be gone. What is still stored when nothing had failed for long and everybody was there is told too, as `arrival`.
 */
export function checkStored(history: History): Violation[] {
  const fates = new Fates(history)
  return owingOf(history, fates).flatMap(({ key, id, agent, mayBeLost }) => {
    const whom = agent ?? 'anybody'
    if (mayBeLost && !fates.isKept(id, agent)) return []
    return fates.isKept(id, agent)
      ? violation('arrival', `"${key}" was never processed by ${whom}, though it is stored`, fates.of(key))
      : violation(
          'stored',
          `"${key}" was stored and is gone: never processed by ${whom}, no dead letter`,
          fates.of(key),
        )
  })
}

/**
 * Nobody is unregistered and nothing expires in a run, so only who gives a message back can have it given up. Work is also given
 * up when its holders are lost again and again.
 */
export function checkGivenUp(history: History): Violation[] {
  const agents = agentsOf(history)
  const known = new Set(agents.values())
  const lanes = new Map(entriesOf(history, 'sent').map(({ key, lane }) => [key, lane]))
  const keys = new Map([...acceptedOf(history)].map(([key, { answered }]) => [answered.id, key]))
  const back = new Set(entriesOf(history, 'gave-back').map(({ id, client }) => `${id} ${agents.get(client)}`))
  return entriesOf(history, 'dead').flatMap((entry) => {
    const { id, agent, reason } = entry
    const key = keys.get(id ?? '')
    if (id === null || key === undefined || agent === null || !known.has(agent)) return []
    if (lanes.get(key) === 'queue' || back.has(`${id} ${agent}`)) return []
    const entries = history.filter((one) => 'key' in one && one.key === key)
    return violation('stored', `"${key}" was given up (${reason}), and ${agent} never gave it back`, [
      ...entries,
      entry,
    ])
  })
}

/** A message has one id, however often its client had to send it. */
export function idsOf(history: History): ReadonlyMap<string, ReadonlySet<string>> {
  const ids = new Map<string, Set<string>>()
  for (const entry of [...entriesOf(history, 'received'), ...entriesOf(history, 'kept')])
    ids.set(entry.key, (ids.get(entry.key) ?? new Set()).add(entry.id))
  return ids
}
