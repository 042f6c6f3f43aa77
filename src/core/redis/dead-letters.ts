import type { DeadLetter, DeadLetters } from '../dead-letters.ts'
import type { Store } from './store.ts'

const MESSAGE_ID = /^\{"type":"message","id":"([^"]*)"/

export class RedisDeadLetters implements DeadLetters {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async list(namespace: string, position: string | null, limit: number): Promise<readonly DeadLetter[]> {
    const keys = this.#store.keys.of(namespace)
    const start = position === null ? '-' : `(${position}`
    const reply = (await this.#store.connections.call('XRANGE', keys.dead, start, '+', 'COUNT', limit)) as [
      string,
      string[],
    ][]
    return reply.map(
      ([id, [, agentId = '', , reason = '', , rejections = '0', , at = '0', , text = '']]) => ({
        position: id,
        messageId: MESSAGE_ID.exec(text)?.[1] ?? null,
        agentId,
        reason,
        rejections: Number(rejections),
        at: Number(at),
        text,
      }),
    )
  }
}
