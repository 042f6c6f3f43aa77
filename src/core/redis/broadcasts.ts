import type { BroadcastEntry, Broadcasts, Cursor } from '../broadcasts.ts'
import type { Rejection, RejectResult } from '../inboxes.ts'
import type { Argument } from './connections.ts'
import { preludeArgs, type Store } from './store.ts'

type EntryReply = [
  number: string,
  text: string,
  from: string,
  echo: string,
  recipients: string,
  expiresAt: string,
]

export class RedisBroadcasts implements Broadcasts {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async open(namespace: string, agentId: string): Promise<Cursor & { head: number }> {
    const keys = this.#store.keys.of(namespace)
    const reply = (await this.#store.run(
      keys,
      'open-log',
      [keys.broadcasts, keys.cursors, keys.settled(agentId), keys.dead],
      [...preludeArgs(this.#store, keys), agentId],
    )) as string[]
    const [upTo = 0, head = 0, ...beyond] = reply.map(Number)
    return { upTo, head, beyond }
  }

  async read(
    namespace: string,
    after: number,
    limit: number,
  ): Promise<{ entries: BroadcastEntry[]; head: number }> {
    const keys = this.#store.keys.of(namespace)
    const reply = await this.#store.run(keys, 'read-log', [keys.broadcasts], [after, limit])
    const [head, ...entries] = reply as [number, ...EntryReply[]]
    return {
      head,
      entries: entries.map(([number, text, from, echo, recipients, expiresAt]) => ({
        number: Number(number),
        text,
        from,
        echo: echo === '1',
        recipients: recipients === '' ? null : (JSON.parse(recipients) as string[]),
        expiresAt: expiresAt === '' ? null : Number(expiresAt),
      })),
    }
  }

  async settle(
    namespace: string,
    cursors: readonly ({ readonly agentId: string } & Cursor)[],
  ): Promise<void> {
    if (cursors.length === 0) return
    const keys = this.#store.keys.of(namespace)
    const args: Argument[] = preludeArgs(this.#store, keys)
    for (const { agentId, upTo, beyond } of cursors) args.push(agentId, upTo, beyond.length, ...beyond)
    await this.#store.run(
      keys,
      'settle-log',
      [keys.broadcasts, keys.cursors, ...cursors.map(({ agentId }) => keys.settled(agentId))],
      args,
    )
  }

  async reject(namespace: string, rejection: Rejection): Promise<RejectResult> {
    const keys = this.#store.keys.of(namespace)
    const { agentId } = rejection
    const reply = await this.#store.run(
      keys,
      'reject-log',
      [
        keys.broadcasts,
        keys.cursors,
        keys.settled(agentId),
        keys.lane(agentId, 'inbox'),
        keys.rejections(agentId),
        keys.dead,
        keys.expiries,
        keys.sessions,
      ],
      [
        ...preludeArgs(this.#store, keys),
        agentId,
        rejection.number,
        rejection.requeue ? 1 : 0,
        rejection.delayMs,
        rejection.reason ?? '',
        this.#store.limits.maxAttempts,
        rejection.fence ?? '',
        this.#store.limits.namespaceInboxBytesMax,
      ],
    )
    if (typeof reply === 'number') return { outcome: 'requeued', number: reply, rejections: 1 }
    return { outcome: reply === 'dead' ? 'dead' : 'gone' }
  }
}
