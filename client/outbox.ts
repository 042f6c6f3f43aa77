import { MeshError } from '../protocol/errors.ts'
import { KeptOutgoing } from './kept-outgoing.ts'
import type { Header, Kept, KeptSend, Owner } from './kept-outgoing.ts'
import type { OutboxStore, OutboxValue } from './outbox-store.ts'
import type { Outbox } from './outgoing.ts'

export type { OutboxStore, OutboxValue } from './outbox-store.ts'
export type { Outbox } from './outgoing.ts'

function read(name: string, values: Iterable<readonly [number, OutboxValue]>, owner: Owner): Kept | null {
  const sends = new Map(values) as Map<number, Header | KeptSend>
  const header = sends.get(0) as Header | undefined
  sends.delete(0)
  if (header === undefined || sends.size === 0) return null
  if (header.version !== 1) {
    throw new MeshError('store_unavailable', `${name} was written by another version of this client`)
  }
  if (header.namespace !== owner.namespace || header.agentId !== owner.agentId) {
    throw new MeshError(
      'invalid_agent',
      `${name} keeps ${sends.size} sends of agent "${header.agentId}" in namespace "${header.namespace}", not of "${owner.agentId}" in "${owner.namespace}"; give each agent an outbox of its own`,
    )
  }
  return { header, sends: sends as Map<number, KeptSend> }
}

/** An outbox in a store of your own, for one client at a time. `fileOutbox` and `indexedDbOutbox` are made of it. */
export function outboxOn(store: OutboxStore): Outbox {
  let owner: Owner = { namespace: '', agentId: '' }
  let kept: Kept | null = null
  let outgoing: KeptOutgoing | null = null
  let closing: Promise<void> | null = null
  const release = async (): Promise<void> => {
    await outgoing?.settle()
    outgoing = null
    // What is stored is stored; a store that can't be closed says so when the next client opens it.
    await store.close().catch(() => undefined)
  }
  return {
    async open(namespace, agentId) {
      if (agentId == null) {
        throw new MeshError('invalid_agent', 'an outbox needs an id: give this client one as options.id')
      }
      await closing
      const values = await store.open()
      closing = null
      owner = { namespace: namespace ?? 'default', agentId }
      try {
        kept = read(store.name, values, owner)
      } catch (error) {
        await store.close()
        throw error
      }
    },
    outgoing(port, limits) {
      outgoing = new KeptOutgoing(port, limits, store, owner, kept)
      kept = null
      return outgoing
    },
    close: () => (closing ??= release()),
  }
}
