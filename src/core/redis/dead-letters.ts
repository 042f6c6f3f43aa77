import type { DeadLetter, DeadLetters, Redrive, RedriveOutcome } from '../dead-letters.ts'
import type { Lane } from '../inboxes.ts'
import type { Argument } from './connections.ts'
import { INLINE_MAX, runWithSenders, taskArgs, type Store } from './store.ts'

const MESSAGE_ID = /^\{"type":"message","id":"([^"]*)"/
// Positions come from clients: what is none must not reach a command.
const POSITION = /^\d{1,15}-\d{1,15}$/

type LetterReply = [position: string, fields: string[]]

export class RedisDeadLetters implements DeadLetters {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async list(namespace: string, position: string | null, limit: number): Promise<readonly DeadLetter[]> {
    if (position !== null && !POSITION.test(position)) return []
    return this.#range(namespace, position === null ? '-' : `(${position}`, '+', limit)
  }

  async #range(namespace: string, from: string, to: string, limit: number): Promise<DeadLetter[]> {
    const { dead } = this.#store.keys.of(namespace)
    const reply = await this.#store.connections.call('XRANGE', dead, from, to, 'COUNT', limit)
    return (reply as LetterReply[]).map(toLetter)
  }

  async get(namespace: string, positions: readonly string[]): Promise<readonly DeadLetter[]> {
    const found = await Promise.all(positions.map((position) => this.#find(namespace, position)))
    return found.filter((letter) => letter !== undefined)
  }

  async count(namespace: string): Promise<{ kept: number; dropped: number }> {
    const keys = this.#store.keys.of(namespace)
    const reply = await this.#store.run(keys, 'count-dead', [keys.dead, keys.meta], [])
    const [kept = 0, dropped = 0] = reply as number[]
    return { kept, dropped }
  }

  async redrive(namespace: string, redrives: readonly Redrive[]): Promise<readonly RedriveOutcome[]> {
    if (redrives.length === 0) return []
    const keys = this.#store.keys.of(namespace)
    // Whose lanes have to be declared. What a dead letter says never changes; whether it is still there the script sees.
    const letters = await Promise.all(redrives.map(({ position }) => this.#find(namespace, position)))
    const lanes: string[] = []
    const args: Argument[] = [
      ...taskArgs(this.#store, keys),
      this.#store.limits.inboxMax,
      this.#store.limits.queueMax,
      INLINE_MAX,
      this.#store.limits.namespaceInboxBytesMax,
    ]
    for (const [index, { position, text, expiresAt }] of redrives.entries()) {
      const letter = letters[index]
      const lane: Lane = letter && isResponse(letter) ? 'replies' : 'inbox'
      const hasLane = letter !== undefined && letter.agentId !== null && letter.capability === null
      if (hasLane) lanes.push(keys.lane(letter.agentId, lane))
      args.push(
        letter ? position : '0-0',
        text,
        expiresAt ?? '',
        hasLane ? lanes.length : 0,
        lane === 'inbox' ? 'i' : 'r',
      )
    }
    const scriptKeys = [...keys.work(), keys.meta, keys.expiries, ...lanes]
    return (await runWithSenders(this.#store, 'redrive', keys, scriptKeys, args)) as RedriveOutcome[]
  }

  async #find(namespace: string, position: string): Promise<DeadLetter | undefined> {
    if (!POSITION.test(position)) return undefined
    return (await this.#range(namespace, position, position, 1))[0]
  }

  async purge(namespace: string, positions: readonly string[]): Promise<number> {
    const known = positions.filter((position) => POSITION.test(position))
    if (known.length === 0) return 0
    const keys = this.#store.keys.of(namespace)
    return (await this.#store.run(keys, 'purge-dead', [keys.dead, keys.meta], known)) as number
  }
}

function toLetter([position, fields]: LetterReply): DeadLetter {
  const [, agentId, , reason = '', , attempts, , at, , text = '', , capability] = fields
  return {
    position,
    messageId: MESSAGE_ID.exec(text)?.[1] ?? null,
    agentId: agentId || null,
    capability: capability || null,
    reason,
    attempts: Number(attempts),
    at: Number(at),
    text,
  }
}

function isResponse({ messageId, text }: DeadLetter): boolean {
  return messageId !== null && (JSON.parse(text) as { messageType?: unknown }).messageType === 'response'
}
