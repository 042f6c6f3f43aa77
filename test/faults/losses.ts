import { acceptedOf, entriesOf, type History } from './history.ts'

/** How far the replica of a store may be behind when its primary is lost. */
export const LAG_MS = 1_000

/**
 * What a store with replicas may forget: what it did from a second before its primary was about to be replaced until nobody but the
 * new primary answered. Replication is asynchronous, so nothing else is promised. All that was done before, and after, is kept.
 */
export class Losses {
  readonly #spans: { readonly from: number; until: number }[] = []

  constructor(history: History) {
    for (const { at, over } of entriesOf(history, 'failover')) {
      const last = this.#spans.at(-1)
      if (!over) this.#spans.push({ from: at - LAG_MS, until: Infinity })
      else if (last) last.until = at
    }
  }

  /** Whether something done at some moment between these two, ms since 1970, may be forgotten. */
  mayHave(from: number, until = from): boolean {
    return this.#spans.some((span) => from <= span.until && until >= span.from)
  }
}

/** Keys of messages that may have been forgotten: stored between being sent and answered, or not yet answered. */
export function forgettable(history: History): ReadonlySet<string> {
  const losses = new Losses(history)
  const accepted = acceptedOf(history)
  const keys = entriesOf(history, 'sent')
    .filter(({ key, at }) => losses.mayHave(at, accepted.get(key)?.answered.at ?? Infinity))
    .map(({ key }) => key)
  return new Set(keys)
}
