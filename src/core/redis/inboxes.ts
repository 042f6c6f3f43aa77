import type {
  Entry,
  Inboxes,
  Lane,
  LaneDepth,
  Member,
  Reading,
  Rejection,
  RejectResult,
  Settlement,
  Unread,
} from '../inboxes.ts'
import type { Argument } from './connections.ts'
import type { NamespaceKeys } from './keys.ts'
import { preludeArgs, runWithSenders, type Store } from './store.ts'

const letterOf = (lane: Lane): string => (lane === 'inbox' ? 'i' : 'r')
const EXPIRY = /^([ir])(\d+):(.*)$/s

/** KEYS[1..6] of lua/reject.lua and lua/expire-entries.lua. */
const endingKeys = (keys: NamespaceKeys, agentId: string, lane: Lane): string[] => [
  keys.sessions,
  keys.lane(agentId, lane),
  keys.rejections(agentId),
  keys.receipts(agentId),
  keys.dead,
  keys.expiries,
]

export class RedisInboxes implements Inboxes {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async read(
    namespace: string,
    agentId: string,
    lane: Lane,
    after: number,
    limit: number,
  ): Promise<{ entries: Entry[]; head: number }> {
    const keys = this.#store.keys.of(namespace)
    const reply = (await this.#store.run(
      keys,
      'read',
      [keys.lane(agentId, lane), keys.rejections(agentId)],
      [after, limit, letterOf(lane)],
    )) as (string | number)[]
    const entries: Entry[] = []
    for (let i = 1; i < reply.length; i += 4) {
      const expiresAt = reply[i + 2]
      const rejected = reply[i + 3]
      const [rejections, dueAt] = rejected ? String(rejected).split(' ').map(Number) : [0, null]
      entries.push({
        number: Number(reply[i]),
        text: String(reply[i + 1]),
        expiresAt: expiresAt === '' ? null : Number(expiresAt),
        rejections: rejections ?? 0,
        dueAt: dueAt ?? null,
      })
    }
    return { entries, head: Number(reply[0]) }
  }

  async unread(namespace: string, readings: readonly Reading[]): Promise<Unread[]> {
    if (readings.length === 0) return []
    const keys = this.#store.keys.of(namespace)
    const scriptKeys = [keys.held]
    const args: Argument[] = []
    for (const { agentId, inbox, replies } of readings) {
      scriptKeys.push(keys.lane(agentId, 'inbox'), keys.lane(agentId, 'replies'))
      args.push(agentId, inbox, replies)
    }
    const reply = (await this.#store.run(keys, 'unread', scriptKeys, args)) as (string | number)[]
    const found: Unread[] = []
    for (let i = 0; i < reply.length; i += 4) {
      const [agentId, inbox, replies, work] = reply.slice(i, i + 4)
      found.push({ agentId: String(agentId), inbox: inbox === 1, replies: replies === 1, work: work === 1 })
    }
    return found
  }

  async depth(namespace: string, agentId: string): Promise<Readonly<Record<Lane, LaneDepth>> | null> {
    const keys = this.#store.keys.of(namespace)
    const reply = (await this.#store.run(
      keys,
      'depth',
      [keys.sessions, keys.lane(agentId, 'inbox'), keys.lane(agentId, 'replies')],
      [agentId],
    )) as (string | number)[] | null
    if (reply === null) return null
    const [entries, oldest, replies, oldestReply] = reply
    return { inbox: toDepth(entries, oldest), replies: toDepth(replies, oldestReply) }
  }

  async peek(
    namespace: string,
    { agentId, door, owner }: Member,
    maxBytes: number,
  ): Promise<readonly string[] | 'not_owner'> {
    const keys = this.#store.keys.of(namespace)
    return (await this.#store.run(
      keys,
      'peek',
      [keys.sessions, keys.lane(agentId, 'inbox'), keys.lane(agentId, 'replies')],
      [agentId, door, this.#store.limits.httpInboxMax, maxBytes, owner ?? ''],
    )) as string[] | 'not_owner'
  }

  async acknowledge(
    namespace: string,
    { agentId, door, owner }: Member,
    messageIds: readonly string[],
  ): Promise<'done' | 'not_owner'> {
    if (messageIds.length === 0 && owner == null) return 'done'
    const keys = this.#store.keys.of(namespace)
    const scriptKeys = [
      keys.sessions,
      keys.lane(agentId, 'inbox'),
      keys.lane(agentId, 'replies'),
      keys.rejections(agentId),
      keys.receipts(agentId),
      keys.expiries,
    ]
    const { connections, limits } = this.#store
    const args = [connections.publishCommand, keys.root, agentId, door, owner ?? '', limits.httpInboxMax]
    for (;;) {
      const reply = await runWithSenders(this.#store, 'acknowledge', keys, scriptKeys, [
        ...args,
        ...new Set(messageIds),
      ])
      if (reply !== -2) return reply === -1 ? 'not_owner' : 'done'
      await this.#expire(namespace, agentId, 'inbox', [0], false)
    }
  }

  async settle(namespace: string, settlements: readonly Settlement[]): Promise<void> {
    const keys = this.#store.keys.of(namespace)
    const scriptKeys = [keys.expiries]
    const args: Argument[] = []
    for (const { agentId, lane, numbers } of settlements) {
      if (numbers.length === 0) continue
      scriptKeys.push(keys.lane(agentId, lane), keys.rejections(agentId), keys.receipts(agentId))
      args.push(letterOf(lane), agentId, numbers.length)
      for (const number of numbers) args.push(`0-${number}`)
    }
    if (args.length === 0) return
    const receipts = (await this.#store.run(keys, 'settle', scriptKeys, args)) === 1
    if (!receipts) return
    await runWithSenders(
      this.#store,
      'settle-receipts',
      keys,
      [keys.sessions, ...scriptKeys],
      [this.#store.connections.publishCommand, keys.root, ...args],
    )
  }

  async reject(namespace: string, lane: Lane, rejection: Rejection): Promise<RejectResult> {
    const keys = this.#store.keys.of(namespace)
    const reply = await runWithSenders(
      this.#store,
      'reject',
      keys,
      endingKeys(keys, rejection.agentId, lane),
      [
        ...preludeArgs(this.#store, keys),
        rejection.agentId,
        rejection.number,
        letterOf(lane),
        rejection.requeue ? 1 : 0,
        rejection.delayMs,
        rejection.reason ?? '',
        this.#store.limits.maxAttempts,
        rejection.fence ?? '',
      ],
    )
    if (typeof reply === 'number') return { outcome: 'requeued', number: rejection.number, rejections: reply }
    return { outcome: reply === 'dead' ? 'dead' : 'gone' }
  }

  async progress(namespace: string, { agentId, lane, numbers }: Settlement): Promise<void> {
    if (numbers.length === 0) return
    const keys = this.#store.keys.of(namespace)
    await runWithSenders(
      this.#store,
      'progress',
      keys,
      [keys.sessions, keys.receipts(agentId)],
      [this.#store.connections.publishCommand, keys.root, agentId, letterOf(lane), ...numbers],
    )
  }

  async expire(namespace: string, settlement: Settlement): Promise<void> {
    await this.#expire(namespace, settlement.agentId, settlement.lane, settlement.numbers, false)
  }

  async expireAbsent(namespace: string, limit: number): Promise<number> {
    const keys = this.#store.keys.of(namespace)
    const due = (await this.#store.run(keys, 'due', [keys.expiries], [limit])) as string[]
    const lanes = new Map<string, { agentId: string; lane: Lane; numbers: number[] }>()
    for (const member of due) {
      const [, letter = '', number = '', agentId = ''] = EXPIRY.exec(member) ?? []
      const lane: Lane = letter === 'i' ? 'inbox' : 'replies'
      const key = keys.lane(agentId, lane)
      const found = lanes.get(key) ?? { agentId, lane, numbers: [] }
      lanes.set(key, found)
      found.numbers.push(Number(number))
    }
    const counts = await Promise.all(
      [...lanes.values()].map(({ agentId, lane, numbers }) =>
        this.#expire(namespace, agentId, lane, numbers, true),
      ),
    )
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #expire(
    namespace: string,
    agentId: string,
    lane: Lane,
    numbers: readonly number[],
    onlyAbsent: boolean,
  ): Promise<number> {
    const keys = this.#store.keys.of(namespace)
    return (await runWithSenders(this.#store, 'expire-entries', keys, endingKeys(keys, agentId, lane), [
      ...preludeArgs(this.#store, keys),
      agentId,
      letterOf(lane),
      onlyAbsent ? 1 : 0,
      this.#store.limits.httpInboxMax,
      ...numbers,
    ])) as number
  }
}

function toDepth(entries: string | number | undefined, oldest: string | number | undefined): LaneDepth {
  return { entries: Number(entries), oldest: oldest === '' ? null : String(oldest) }
}
