import { type EntryOf, type History } from './history.ts'
import { type Violation, violation } from './violation.ts'

type List = EntryOf<'list'>
type Event = EntryOf<'event'>

/** One watcher's copy of the registry: its last list, and every event since. */
interface Copy {
  revision: number
  last: List | Event
  agents: Map<string, string>
}

function apply({ agents }: Copy, { event, agent, text }: Event): void {
  if (event === 'leader.changed' || agent === null) return
  if (text === null) agents.delete(agent)
  else agents.set(agent, text)
}

/** Events follow each other without a gap, in each watcher; those of two watchers are the same. */
function checkEvents(history: History): Violation[] {
  const found: Violation[] = []
  const copies = new Map<string, number>()
  const latest = new Map<string, List | Event>()
  const byRevision = new Map<number, Event>()
  const told = new Set<string>()
  for (const entry of history) {
    if (entry.kind !== 'list' && entry.kind !== 'event') continue
    const before = copies.get(entry.client)
    const previous = latest.get(entry.client)
    copies.set(entry.client, entry.revision)
    latest.set(entry.client, entry)
    if (entry.kind === 'list') continue
    if (before !== undefined && previous && entry.revision !== before + 1 && !told.has(entry.client)) {
      told.add(entry.client)
      const what = `${entry.client} saw revision ${entry.revision} after ${before}`
      found.push(violation('watch', what, [previous, entry]))
    }
    const other = byRevision.get(entry.revision)
    if (!other) byRevision.set(entry.revision, entry)
    // Who leads is judged by the terms: see check-holders.ts.
    else if (other.event !== entry.event || other.text !== entry.text) {
      const what = `revision ${entry.revision} differs between ${other.client} and ${entry.client}`
      found.push(violation('watch', what, [other, entry]))
    }
  }
  return found
}

function difference(copy: ReadonlyMap<string, string>, list: List): string | null {
  for (const id of new Set([...copy.keys(), ...Object.keys(list.agents)]))
    if (copy.get(id) !== list.agents[id]) return id
  return null
}

/** What every watcher had at the revisions of lists is what the lists say. */
function checkLists(history: History): Violation[] {
  const found: Violation[] = []
  const listsAt = new Map<number, List>()
  for (const entry of history) if (entry.kind === 'list') listsAt.set(entry.revision, entry)
  const copies = new Map<string, Copy>()
  const told = new Set<string>()
  for (const entry of history) {
    if (entry.kind !== 'list' && entry.kind !== 'event') continue
    let copy = copies.get(entry.client)
    if (entry.kind === 'list' || !copy) {
      const agents = new Map(entry.kind === 'list' ? Object.entries(entry.agents) : [])
      copy = { revision: entry.revision, last: entry, agents }
      copies.set(entry.client, copy)
    } else {
      apply(copy, entry)
      Object.assign(copy, { revision: entry.revision, last: entry })
    }
    const list = listsAt.get(entry.revision)
    const id = list ? difference(copy.agents, list) : null
    if (!list || id === null || told.has(entry.client)) continue
    told.add(entry.client)
    const what = `at revision ${entry.revision} ${entry.client} has another "${id}" than the list of ${list.client}: ${copy.agents.get(id) ?? 'none'}, not ${list.agents[id] ?? 'none'}`
    found.push(violation('watch', what, [copy.last, list]))
  }
  return found
}

/** I5. At every revision, list plus events is the registry, for every watcher on every hub. */
export function checkWatch(history: History): Violation[] {
  return [...checkEvents(history), ...checkLists(history)]
}
