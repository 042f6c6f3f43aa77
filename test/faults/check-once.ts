import { type Entry, entriesOf, type EntryOf, type History, put } from './history.ts'
import { idsOf } from './check-stored.ts'
import { forgettable } from './losses.ts'
import { type Violation, violation } from './violation.ts'

/** Between two deliveries, what allows for the second: it was given back, or taken back. */
const allows = (entry: Entry): boolean => entry.kind === 'gave-back' || entry.kind === 'revoked'

function twice(
  entries: readonly Entry[],
  span: 'client' | 'session',
): [EntryOf<'received'>, EntryOf<'received'>] | null {
  let last: EntryOf<'received'> | null = null
  for (const entry of entries) {
    if (allows(entry)) last = null
    if (entry.kind !== 'received') continue
    if (last && (span === 'client' || last.session === entry.session)) return [last, entry]
    last = entry
  }
  return null
}

/**
 * I3. The bundled client calls its handler once for a message, unless that was given back or revoked in between. A raw client is
 * pushed a direct or broadcast message once a session. And a message is stored once: under one id; but what a store may have
 * forgotten is stored again where its answer was lost too.
 */
export function checkOnce(history: History): Violation[] {
  const found: Violation[] = []
  const kinds = new Map(entriesOf(history, 'joined').map(({ client, handles }) => [client, handles]))
  const told = new Map<string, Entry[]>()
  for (const entry of history) {
    if (entry.kind === 'received' || entry.kind === 'gave-back' || entry.kind === 'revoked')
      put(told, `${entry.client} ${entry.id}`, entry)
  }
  for (const entries of told.values()) {
    const first = entries.find((entry): entry is EntryOf<'received'> => entry.kind === 'received')
    if (!first || entries.length < 2) continue
    const bundled = kinds.get(first.client) === 'bundled'
    // Whether work may come twice in a session its attempts tell: see check-holders.ts.
    if (!bundled && first.lane === 'queue') continue
    const pair = twice(entries, bundled ? 'client' : 'session')
    if (!pair) continue
    const what = bundled ? `handled "${first.key}" twice` : `was pushed "${first.key}" twice in one session`
    found.push(violation('once', `${first.client} ${what}`, pair))
  }
  const lost = forgettable(history)
  for (const [key, ids] of idsOf(history)) {
    if (ids.size < 2 || lost.has(key)) continue
    const entries = history.filter((entry) => 'key' in entry && entry.key === key)
    found.push(violation('once', `"${key}" is stored twice, as ${[...ids].join(' and ')}`, entries))
  }
  return found
}
