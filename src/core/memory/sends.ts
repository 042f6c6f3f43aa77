import type { BroadcastEntry } from '../broadcasts.ts'
import type { Send, SendOutcome, Sender, Sends } from '../sends.ts'
import { isOwnedBy, type MemoryAgent } from './agent.ts'
import { messageIdOf } from './endings.ts'
import type { Namespace } from './namespace.ts'
import type { Namespaces } from './namespaces.ts'
import type { MemoryProducer } from './producer.ts'

const FENCED: SendOutcome = { outcome: 'fenced' }
const COUNTED: SendOutcome = { outcome: 'counted' }
const POSTPONED: SendOutcome = { outcome: 'postponed' }

export class MemorySends implements Sends {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async store(name: string, batch: readonly Send[]): Promise<readonly SendOutcome[]> {
    const namespace = this.#namespaces.find(name)
    const outcomes: SendOutcome[] = []
    const moved = new Set<string>()
    const queued = new Set<string>()
    for (const send of batch) {
      const { sender, seq } = send
      const agent = namespace?.agents.get(sender.agentId)
      if (namespace === undefined || !isLive(agent, sender)) {
        outcomes.push(FENCED)
        continue
      }
      const producer =
        agent === undefined || seq === null || sender.producer === null
          ? null
          : agent.producer(sender.producer)
      if (producer !== null && seq !== null && seq < producer.next) {
        outcomes.push(producer.repeat(seq))
        continue
      }
      if (moved.size > 0 && moved.has(sender.agentId)) {
        outcomes.push(POSTPONED)
        continue
      }
      if (producer !== null && seq !== null && seq > producer.next) {
        outcomes.push({ outcome: 'gap', expected: producer.next })
        continue
      }
      const outcome = this.#decide(namespace, send)
      outcomes.push(outcome)
      if (outcome.outcome === 'queued' && send.to.kind === 'queue') queued.add(send.to.capability)
      if (outcome.outcome === 'moved') moved.add(sender.agentId)
      else if (producer !== null) end(producer, send, outcome)
    }
    namespace?.endings.tellQueued(queued)
    return outcomes
  }

  #decide(namespace: Namespace, send: Send): SendOutcome {
    const { sender, to, asLeader } = send
    if (to.kind === 'refused') return { outcome: 'refused', code: to.code, repeated: false }
    if (asLeader !== null && (namespace.leader !== sender.agentId || namespace.term !== asLeader)) {
      return { outcome: 'refused', code: 'stale_term', repeated: false }
    }
    if (to.kind === 'transient') return COUNTED
    if (to.kind === 'members') return broadcast(namespace, send, to, this.#namespaces.settings.now())
    if (to.kind === 'queue') return this.#queue(namespace, send, to)
    const target = to.kind === 'leader' ? leaderOf(namespace) : addressee(namespace, to)
    if (target === undefined) {
      return {
        outcome: 'refused',
        code: to.kind === 'leader' ? 'no_leader' : 'unknown_target',
        repeated: false,
      }
    }
    return target.id === to.agentId
      ? this.#append(namespace, send, target, to.lane)
      : { outcome: 'moved', agentId: target.id }
  }

  #append(namespace: Namespace, send: Send, target: MemoryAgent, laneName: 'inbox' | 'replies'): SendOutcome {
    const { limits, now } = this.#namespaces.settings
    const { sender, text, expiresAt, receipt } = send
    const isBeating = target.record.state.door !== undefined
    if (laneName === 'inbox') {
      if (!isBeating && limits.inboxMax > 0 && target.inbox.size >= limits.inboxMax) {
        return { outcome: 'refused', code: 'inbox_full', repeated: false }
      }
      if (!namespace.inboxBytes.hasRoomFor(text)) {
        return { outcome: 'refused', code: 'quota_exceeded', repeated: false }
      }
    }
    const entry = { text, expiresAt, ...told(sender, receipt), rejections: 0, dueAt: null }
    const number = isBeating
      ? namespace.endings.appendBounded(target, laneName, entry, now())
      : namespace.endings.append(target, laneName, entry, sender.hub)
    return { outcome: 'stored', agentId: target.id, number }
  }

  #queue(
    namespace: Namespace,
    { sender, text, expiresAt, receipt }: Send,
    { capability, ifNone }: { capability: string; ifNone: 'keep' | 'fail' },
  ): SendOutcome {
    const { members, work } = namespace
    const recipients = members.count('capability', capability)
    if (recipients === 0 && ifNone === 'fail') {
      return { outcome: 'refused', code: 'no_capable_agent', repeated: false }
    }
    if (work.isFull(capability)) return { outcome: 'refused', code: 'inbox_full', repeated: false }
    const task = { id: messageIdOf(text) ?? '', text, expiresAt, ...told(sender, receipt) }
    work.add(capability, recipients > 0, task, this.#namespaces.settings.now())
    return { outcome: 'queued', recipients }
  }
}

/** Who is told what becomes of it. */
const told = ({ agentId }: Sender, receipt: Send['receipt']) => ({
  receiptTo: receipt ? agentId : null,
  isQuiet: receipt === 'failure',
})

function leaderOf(namespace: Namespace): MemoryAgent | undefined {
  return namespace.leader === null ? undefined : namespace.agents.get(namespace.leader)
}

function addressee(
  namespace: Namespace,
  { agentId, name }: { agentId: string; name: string | null },
): MemoryAgent | undefined {
  return name === null ? namespace.agents.get(agentId) : namespace.holderOf(name)
}

function isLive(agent: MemoryAgent | undefined, sender: Sender): boolean {
  if (agent === undefined) return sender.door !== undefined && sender.registered !== true
  if (sender.door !== undefined)
    return agent.record.state.door === sender.door && isOwnedBy(agent, sender.owner)
  return agent.fence === sender.fence && agent.record.state.connected
}

/** Ends a `seq` with what repeating it will be answered; what is to be handed in again leaves it open. */
function end(producer: MemoryProducer, { to }: Send, outcome: SendOutcome): void {
  switch (outcome.outcome) {
    case 'stored':
      return producer.end(1)
    case 'broadcast':
    case 'queued':
      return producer.end(outcome.recipients)
    case 'counted':
      return producer.end(to.kind === 'transient' ? to.recipients : 0)
    case 'refused':
      return producer.end(outcome.code)
    case 'duplicate':
    case 'moved':
    case 'postponed':
    case 'fenced':
    case 'gap':
    case 'too_old':
  }
}

function broadcast(
  namespace: Namespace,
  { sender, text, expiresAt }: Send,
  { of, value, echo }: { of: 'all' | 'group' | 'capability'; value: string; echo: boolean },
  at: number,
): SendOutcome {
  const agentIds: string[] = []
  const add = (ids: Iterable<string>): void => {
    for (const id of ids) {
      if ((echo || id !== sender.agentId) && !isSilent(namespace.agents.get(id))) agentIds.push(id)
    }
  }
  if (of === 'all') {
    // Everybody has a session that reads the log: nobody needs to be named.
    if (namespace.beating.size > 0 || sender.door !== undefined) add(namespace.agents.keys())
  } else {
    add(namespace.members.of(of, value))
    if (of === 'capability') add(namespace.members.of('heard', value))
  }
  const recipients = of === 'all' ? null : agentIds
  const number = namespace.broadcasts.head + 1
  const entry: BroadcastEntry = { number, text, from: sender.agentId, echo, recipients, expiresAt }
  namespace.broadcasts.append(number, entry)
  namespace.publish(null, { kind: 'broadcast', number, entry })
  if (namespace.beating.size > 0) {
    const copy = { text, expiresAt, receiptTo: null, rejections: 0, dueAt: null }
    for (const id of agentIds) {
      const agent = namespace.agents.get(id)
      if (agent?.record.state.door !== undefined) namespace.endings.appendBounded(agent, 'inbox', copy, at)
    }
  }
  if (sender.door !== undefined)
    return { outcome: 'broadcast', number, recipients: agentIds.length, agentIds }
  const everybody = of === 'all' && namespace.beating.size === 0
  const count = everybody ? namespace.agents.size - (echo ? 0 : 1) : agentIds.length
  return { outcome: 'broadcast', number, recipients: count }
}

/** It lives by heartbeats, and none has come. */
const isSilent = (agent: MemoryAgent | undefined): boolean =>
  agent?.record.state.door !== undefined && agent.record.state.status === 'offline'
