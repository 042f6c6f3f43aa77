import { agentsOf, type Entry, type EntryOf, entriesOf, type History, put } from './history.ts'
import { Losses } from './losses.ts'
import { type Violation, violation } from './violation.ts'

type Received = EntryOf<'received'>

/** Deliveries of each message of a work queue. */
function worked(history: History): ReadonlyMap<string, Received[]> {
  const found = new Map<string, Received[]>()
  for (const entry of entriesOf(history, 'received')) if (entry.lane === 'queue') put(found, entry.id, entry)
  return found
}

/**
 * Each push of work has a number of its own, so two deliveries with the same one are two holders at once; or the store has
 * forgotten the first one, which it gave out before that came and after the delivery before, or the sending.
 */
function sharedAttempts(history: History, deliveries: ReadonlyMap<string, Received[]>): Violation[] {
  const found: Violation[] = []
  const losses = new Losses(history)
  const sentAt = new Map(entriesOf(history, 'sent').map(({ key, at }) => [key, at]))
  for (const [id, entries] of deliveries) {
    const byAttempt = new Map<number, Received>()
    for (const entry of entries) {
      const other = byAttempt.get(entry.attempt)
      byAttempt.set(entry.attempt, entry)
      if (!other) continue
      const since = entries[entries.indexOf(other) - 1]?.at ?? sentAt.get(other.key) ?? 0
      if (losses.mayHave(since, other.at)) continue
      const what = `work ${id} was pushed to ${other.client} and to ${entry.client} as attempt ${entry.attempt}`
      found.push(violation('holder', what, [other, entry]))
      break
    }
  }
  return found
}

/**
 * The receipt says whose acknowledgement counted. What came later with a greater attempt than any that this agent ever got was
 * claimed after it; what came later with a smaller one was only late. A store that may have forgotten the acknowledgement gives
 * the work out again.
 */
function workedAgain(history: History, deliveries: ReadonlyMap<string, Received[]>): Violation[] {
  const agents = agentsOf(history)
  const found: Violation[] = []
  const judged = new Set<string>()
  const losses = new Losses(history)
  for (const receipt of entriesOf(history, 'receipt')) {
    if (receipt.status !== 'acked' || judged.has(receipt.id)) continue
    judged.add(receipt.id)
    if (losses.mayHave(receipt.settledAt)) continue
    const entries = deliveries.get(receipt.id) ?? []
    const own = entries
      .filter(({ client }) => agents.get(client) === receipt.agent)
      .map(({ attempt }) => attempt)
    const latest = Math.max(0, ...own)
    const again = entries.find(({ attempt, at }) => attempt > latest && at > receipt.settledAt + 5)
    if (!again) continue
    const what = `work ${receipt.id} was acknowledged by ${receipt.agent} (attempt ${latest}) and went to ${again.client} afterwards`
    found.push(violation('holder', what, [...entries, receipt]))
  }
  return found
}

/** What is written on a session after another one of the same agent was welcomed must not be stored. */
function fenceless(history: History): Violation[] {
  const agents = agentsOf(history)
  const latest = new Map<string, EntryOf<'session'>>()
  const late = new Map<string, readonly [EntryOf<'session'>, EntryOf<'sent'>]>()
  const found: Violation[] = []
  for (const entry of history) {
    if (entry.kind === 'session') latest.set(agents.get(entry.client) ?? entry.client, entry)
    if (entry.kind === 'sent' && entry.session !== null) {
      const now = latest.get(agents.get(entry.client) ?? entry.client)
      if (now && (now.client !== entry.client || now.session !== entry.session))
        late.set(entry.key, [now, entry])
    }
    const pair = entry.kind === 'answered' && entry.code === null ? late.get(entry.key) : undefined
    if (pair && entry.kind === 'answered') {
      const what = `"${entry.key}" was stored, sent on a session that ${pair[0].client} had taken over`
      found.push(violation('session', what, [...pair, entry]))
    }
  }
  return found
}

/** A client goes on for ever: none is ended by what another session of its own agent did long ago, or by a fault. */
function ended(history: History): Violation[] {
  return entriesOf(history, 'ended').map((entry) => {
    const sessions = entriesOf(history, 'session').filter(({ client }) => client === entry.client)
    return violation('session', `${entry.client} was ended: ${entry.error}`, [...sessions.slice(-2), entry])
  })
}

/** I4. One live session an agent, which stays until a next one takes over. */
export const checkSessions = (history: History): Violation[] => [...fenceless(history), ...ended(history)]

/** I4. One holder of work. */
export function checkHolders(history: History): Violation[] {
  const deliveries = worked(history)
  return [...sharedAttempts(history, deliveries), ...workedAgain(history, deliveries)]
}

/** Who leads in a term, as far as an entry says. */
interface Claim {
  readonly term: number
  readonly agent: string
  readonly entry: Entry
}

function claimsOf(history: History): Claim[] {
  const agents = agentsOf(history)
  const sends = new Map(entriesOf(history, 'sent').map((sent) => [sent.key, sent]))
  const claims: Claim[] = []
  for (const entry of history) {
    if (entry.kind === 'list' && entry.leader !== null) {
      claims.push({ term: entry.term, agent: entry.leader, entry })
    } else if (entry.kind === 'event' && entry.term !== null && entry.agent !== null) {
      claims.push({ term: entry.term, agent: entry.agent, entry })
    } else if (entry.kind === 'answered' && entry.code === null) {
      const sent = sends.get(entry.key)
      if (sent?.term == null) continue
      claims.push({ term: sent.term, agent: agents.get(sent.client) ?? sent.client, entry })
    }
  }
  return claims
}

/** What is stored for a term after something was stored for a later one should have been refused. */
function staleTerms(history: History): Violation[] {
  const found: Violation[] = []
  const sends = new Map(entriesOf(history, 'sent').map((sent) => [sent.key, sent]))
  /** The greatest term that was answered `ok` so far, at each answer. */
  const answered: { readonly term: number; readonly entry: Entry }[] = []
  for (const entry of entriesOf(history, 'answered')) {
    const sent = sends.get(entry.key)
    if (sent?.term == null || entry.code !== null) continue
    const { term } = sent
    const later = answered.find((one) => one.term > term && one.entry.n < sent.n)
    if (later)
      found.push(
        violation('leader', `"${entry.key}" was stored for term ${term} after one of term ${later.term}`, [
          later.entry,
          sent,
          entry,
        ]),
      )
    if ((answered.at(-1)?.term ?? -1) < term) answered.push({ term, entry })
  }
  return found
}

/** Terms of the leaders that one watcher saw, in order. */
function shrinkingTerms(history: History): Violation[] {
  const found: Violation[] = []
  const last = new Map<string, EntryOf<'event'>>()
  for (const entry of entriesOf(history, 'event')) {
    if (entry.term === null || entry.agent === null) continue
    const before = last.get(entry.client)
    last.set(entry.client, entry)
    if (before?.term == null || before.term < entry.term) continue
    found.push(
      violation(
        'leader',
        `${entry.client} saw a leader with term ${entry.term} after one with ${before.term}`,
        [before, entry],
      ),
    )
  }
  return found
}

/** I4. One leader a term, whoever tells of it; terms only grow; what a deposed leader sends is refused. */
export function checkLeaders(history: History): Violation[] {
  const found: Violation[] = []
  const byTerm = new Map<number, Claim>()
  const told = new Set<number>()
  for (const claim of claimsOf(history)) {
    const other = byTerm.get(claim.term)
    if (!other) byTerm.set(claim.term, claim)
    else if (other.agent !== claim.agent && !told.has(claim.term)) {
      told.add(claim.term)
      const what = `term ${claim.term} has two leaders, ${other.agent} and ${claim.agent}`
      found.push(violation('leader', what, [other.entry, claim.entry]))
    }
  }
  return [...found, ...staleTerms(history), ...shrinkingTerms(history)]
}
