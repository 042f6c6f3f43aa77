import { acceptedOf, agentsOf, type EntryOf, entriesOf, type History, put } from './history.ts'
import { forgettable, Losses } from './losses.ts'
import { type Violation, violation } from './violation.ts'

type Receipt = EntryOf<'receipt'>

/** A receipt may come again until it is acknowledged; then it says the same. */
const saying = ({ status, agent, reason, settledAt }: Receipt): string =>
  JSON.stringify([status, agent, reason, settledAt])

/**
 * A message sent with a receipt gets exactly one final one, and at most one `in_progress`, and they are true: who acknowledged it
 * has processed it, what was given up is among the dead letters. A store that may have forgotten the step that a receipt tells of
 * takes another one, with another receipt.
 */
export function checkReceipts(history: History): Violation[] {
  const agents = agentsOf(history)
  const receipts = new Map<string, Receipt[]>()
  for (const entry of entriesOf(history, 'receipt')) put(receipts, entry.id, entry)
  const processed = new Map<string, EntryOf<'processed'>[]>()
  for (const entry of entriesOf(history, 'processed')) put(processed, entry.id, entry)
  const dead = new Map(entriesOf(history, 'dead').map((entry) => [entry.id, entry]))
  const found: Violation[] = []
  const losses = new Losses(history)
  const lost = forgettable(history)
  for (const [key, { sent, answered }] of acceptedOf(history)) {
    if (!sent.receipt) continue
    const { id } = answered
    const all = receipts.get(id) ?? []
    const by = processed.get(id) ?? []
    const finals = all.filter(({ status }) => status !== 'in_progress')
    const began = all.filter(({ status }) => status === 'in_progress')
    const lasting = ({ settledAt }: Receipt): boolean => !losses.mayHave(settledAt)
    const final = finals.find(lasting) ?? finals[0]
    const tell = (what: string): void =>
      void found.push(violation('receipt', `"${key}" ${what}`, [sent, answered, ...by, ...all]))
    const given = dead.get(id)
    if (!final) {
      // Of what is lost, or stored still, checkStored tells.
      if (!lost.has(key) && (by.length > 0 || given)) tell('has no final receipt')
      continue
    }
    if (new Set(finals.filter(lasting).map(saying)).size > 1) tell('has several final receipts')
    if (new Set(began.filter(lasting).map(saying)).size > 1) tell('was begun several times')
    if (final.status === 'acked') {
      if (!by.some(({ client }) => agents.get(client) === final.agent))
        tell(`has a receipt of ${final.agent}, which never processed it`)
      if (given && lasting(final)) tell('was acknowledged, and is among the dead letters')
    } else if (!given && lasting(final))
      tell(`was given up (${final.reason}), and is not among the dead letters`)
  }
  return found
}
