import type { DeadLetter } from '../../src/core/dead-letters.ts'
import type { Happened } from './history.ts'
import type { World } from './world.ts'

/** A promise that was not kept, and what happened around it. */
export interface Violation {
  readonly rule: string
  readonly what: string
  readonly history: string
}

const FINAL: ReadonlySet<string> = new Set(['acked', 'expired', 'dead_lettered'])

/** Compares what the agents saw with what they were promised. @param isDone nothing was left to do at the end */
export async function check(world: World, isDone: boolean): Promise<Violation[]> {
  const violations: Violation[] = []
  const tell = (rule: string, what: string, words: readonly (string | number)[]): void => {
    violations.push({ rule, what, history: world.history.about(words) })
  }
  const left = await world.left()
  if (!isDone) {
    const unsettled = world.agents.flatMap((agent) => agent.unsettled)
    const ids = left.flatMap((line) => /"id":"([^"]+)"/.exec(line)?.[1] ?? [])
    tell(
      'everything comes to an end',
      `left: ${left.join('; ') || 'nothing'}; not settled: ${unsettled.join()}`,
      [...ids, ...unsettled],
    )
  }
  const dead = await world.core.deadLetters.list('default', null, 100_000)
  checkKept(world, dead, left, tell)
  checkReceipts(world, tell)
  checkOrder(world, tell)
  checkHolding(world, tell)
  return violations
}

type Tell = (rule: string, what: string, words: readonly (string | number)[]) => void

/** What was answered `ok` was worked off by each it was owed to, or is among the dead letters. */
function checkKept(world: World, dead: readonly DeadLetter[], left: readonly string[], tell: Tell): void {
  const deadIds = new Set(dead.map(({ messageId }) => messageId))
  // One record stands for broadcasts of which the ids are not known.
  const areBroadcastsLost = deadIds.has(null)
  for (const agent of world.agents) {
    for (const { id, number, to } of agent.sent) {
      if (id === null) continue
      const done = world.agents.filter((one) => one.done.has(id))
      if (to.all === true) {
        for (const one of world.agents) {
          const isOwed = one !== agent && !one.done.has(id) && !deadIds.has(id) && !areBroadcastsLost
          // Whoever registered after it was stored was not owed it.
          if (isOwed && wasRegistered(world, one.id, number))
            tell('kept', `broadcast ${id} never reached ${one.id}`, [id])
        }
      } else if (done.length === 0 && !deadIds.has(id) && !left.some((line) => line.includes(id))) {
        const isWaiting =
          'capability' in to &&
          !world.agents.some(({ traits }) => traits.capabilities.includes(String(to.capability)))
        if (!isWaiting) tell('kept', `message ${id} (${number}) was lost`, [id])
      }
    }
  }
}

function wasRegistered({ history }: World, agentId: string, number: number): boolean {
  const sentAt = history.events.find((event) => event.what === 'answered' && event.number === number)?.at ?? 0
  const cameAt =
    history.events.find((event) => event.who === agentId && event.what === 'welcome')?.at ?? Infinity
  // Long before, so that what was under way then is no matter.
  return cameAt < sentAt - 2_000
}

/** One final receipt for each message that was sent with one and came to an end; none for others. */
function checkReceipts(world: World, tell: Tell): void {
  for (const agent of world.agents) {
    const asked = new Map(
      agent.sent.filter(({ id, receipt }) => id !== null && receipt).map(({ id, to }) => [id ?? '', to]),
    )
    const finals = new Map<string, string[]>()
    for (const { id, status, agentId } of agent.receipts) {
      if (!FINAL.has(status)) continue
      finals.set(id, [...(finals.get(id) ?? []), status])
      if (status === 'acked' && !world.agents.some((one) => one.id === agentId && one.done.has(id)))
        tell('receipts', `${id} is told as acked by ${agentId}, who did not`, [id])
    }
    for (const [id, to] of asked) {
      const isServed =
        !('capability' in to) ||
        world.agents.some(({ traits }) => traits.capabilities.includes(String(to.capability)))
      const count = finals.get(id)?.length ?? 0
      if (count > 1 || (count === 0 && isServed)) tell('receipts', `${id} has ${count} final receipts`, [id])
    }
    for (const id of finals.keys())
      if (!asked.has(id) && agent.sent.some((sent) => sent.id === id))
        tell('receipts', `${id} asked for none`, [id])
  }
}

/** First deliveries from one agent to another come in the order they were sent, among direct messages and among broadcasts. */
function checkOrder({ history }: World, tell: Tell): void {
  const last = new Map<string, number>()
  const seen = new Set<string>()
  for (const { who, what, from, via, id, number } of history.events) {
    if (what !== 'got' || via === 'queue') continue
    if (seen.has(`${who} ${String(id)}`)) continue
    seen.add(`${who} ${String(id)}`)
    const line = `${String(from)} to ${who} by ${String(via)}`
    if (Number(number) < (last.get(line) ?? 0))
      tell('order', `${String(id)} came late, ${line}`, [String(id)])
    else last.set(line, Number(number))
  }
}

/** What a session holds is not pushed to it again, and never more work than it takes at once. */
function checkHolding({ history, agents }: World, tell: Tell): void {
  for (const { id: who, traits } of agents) {
    const work = new Set<string>()
    const done = new Set<string>()
    const ended = new Set(['welcome', 'closed', 'drops'])
    for (const event of history.events as readonly Happened[]) {
      if (event.who !== who) continue
      const id = String(event.id)
      if (ended.has(event.what)) work.clear()
      else if (event.what === 'got') {
        if (event.isHeld === true) tell('holding', `${id} was pushed to ${who} twice in one session`, [id])
        // What it has done already takes no place: its acknowledgement and the message passed each other.
        if (event.via === 'queue' && !done.has(id)) work.add(id)
        if (work.size > traits.concurrency) tell('holding', `${who} holds ${work.size}, ${id} too`, [who])
      } else if (event.what === 'ack' || event.what === 'nack') {
        work.delete(id)
        if (event.what === 'ack') done.add(id)
      } else if (event.what === 'revoked') for (const one of event.ids as string[]) work.delete(one)
    }
  }
}
