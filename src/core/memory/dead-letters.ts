import type { DeadLetter, DeadLetters, Redrive, RedriveOutcome } from '../dead-letters.ts'
import type { Namespace } from './namespace.ts'
import type { Namespaces } from './namespaces.ts'

export class MemoryDeadLetters implements DeadLetters {
  readonly #namespaces: Namespaces

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces
  }

  async list(name: string, position: string | null, limit: number): Promise<readonly DeadLetter[]> {
    return this.#namespaces.find(name)?.dead.after(position, limit) ?? []
  }

  async get(name: string, positions: readonly string[]): Promise<readonly DeadLetter[]> {
    const dead = this.#namespaces.find(name)?.dead
    return positions.flatMap((position) => dead?.get(position) ?? [])
  }

  async count(name: string): Promise<{ kept: number; dropped: number }> {
    const dead = this.#namespaces.find(name)?.dead
    return { kept: dead?.size ?? 0, dropped: dead?.dropped ?? 0 }
  }

  async redrive(name: string, redrives: readonly Redrive[]): Promise<readonly RedriveOutcome[]> {
    const namespace = this.#namespaces.find(name)
    if (namespace === undefined) return redrives.map(() => 'gone')
    const queued = new Set<string>()
    const outcomes: RedriveOutcome[] = []
    for (const redrive of redrives) {
      const letter = namespace.dead.get(redrive.position)
      const outcome = letter === undefined ? 'gone' : this.#redrive(namespace, letter, redrive)
      outcomes.push(outcome)
      if (letter === undefined || outcome !== 'redriven') continue
      namespace.dead.delete(redrive.position)
      if (letter.capability !== null) queued.add(letter.capability)
    }
    namespace.endings.tellQueued(queued)
    return outcomes
  }

  async purge(name: string, positions: readonly string[]): Promise<number> {
    const dead = this.#namespaces.find(name)?.dead
    let purged = 0
    for (const position of positions) if (dead?.delete(position) === true) purged += 1
    return purged
  }

  #redrive(namespace: Namespace, letter: DeadLetter, { text, expiresAt }: Redrive): RedriveOutcome {
    const { messageId, agentId, capability } = letter
    const { limits, now } = this.#namespaces.settings
    if (messageId === null) return 'not_a_message'
    if (capability !== null) {
      const { members, work } = namespace
      if (work.isFull(capability)) return 'inbox_full'
      const task = { id: messageId, text, expiresAt, receiptTo: null }
      work.add(capability, members.count('capability', capability) > 0, task, now())
      return 'redriven'
    }
    const agent = agentId === null ? undefined : namespace.agents.get(agentId)
    if (agent === undefined) return 'unknown_target'
    const lane = isResponse(text) ? 'replies' : 'inbox'
    const isBeating = agent.record.state.door !== undefined
    if (lane === 'inbox') {
      const { inboxMax } = limits
      if (!isBeating && inboxMax > 0 && agent.inbox.size >= inboxMax) return 'inbox_full'
      if (!namespace.inboxBytes.hasRoomFor(text)) return 'quota_exceeded'
    }
    const entry = { text, expiresAt, receiptTo: null, rejections: 0, dueAt: null }
    if (isBeating) namespace.endings.appendBounded(agent, lane, entry, now())
    else namespace.endings.append(agent, lane, entry, null)
    return 'redriven'
  }
}

function isResponse(text: string): boolean {
  const { messageType } = JSON.parse(text) as { messageType?: unknown }
  return messageType === 'response'
}
