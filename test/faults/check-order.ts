import { agentsOf, type EntryOf, entriesOf, type History } from './history.ts'
import { type Violation, violation } from './violation.ts'

interface Line {
  readonly sender: string
  readonly receiver: string
  readonly lane: string
  /** The latest sent of those that came, and its first delivery. */
  sent: EntryOf<'sent'>
  received: EntryOf<'received'>
}

/**
 * I2. First deliveries of one client's messages to one agent come in the order in which they were sent, within each lane; work
 * queues promise none. One violation for each line of sender, receiver and lane: the first.
 */
export function checkOrder(history: History): Violation[] {
  const agents = agentsOf(history)
  const sends = new Map(entriesOf(history, 'sent').map((sent) => [sent.key, sent]))
  const lines = new Map<string, Line>()
  const delivered = new Set<string>()
  const found = new Map<string, Violation>()
  for (const received of entriesOf(history, 'received')) {
    const sent = sends.get(received.key)
    const receiver = agents.get(received.client) ?? received.client
    if (!sent || sent.lane === 'queue' || delivered.has(`${received.key} ${receiver}`)) continue
    delivered.add(`${received.key} ${receiver}`)
    const name = `${sent.client} > ${receiver}, ${sent.lane}`
    const line = lines.get(name)
    if (line && sent.n < line.sent.n && !found.has(name)) {
      const what = `of ${name}: "${sent.key}" was sent before "${line.sent.key}" and came after it`
      found.set(name, violation('order', what, [sent, line.sent, line.received, received]))
    }
    if (!line) lines.set(name, { sender: sent.client, receiver, lane: sent.lane, sent, received })
    else if (sent.n > line.sent.n) Object.assign(line, { sent, received })
  }
  return [...found.values()]
}
