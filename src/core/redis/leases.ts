import type { Leases, LiveHub } from '../leases.ts'
import type { ScriptReply } from './connections.ts'
import type { Store } from './store.ts'

export class RedisLeases implements Leases {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async renew(hub: string, namespaces: readonly string[]): Promise<{ lapsed: boolean }> {
    const { keys, limits } = this.#store
    const reply = await this.#store.run(
      null,
      'renew-lease',
      [keys.hubs, keys.hubNamespaces(hub)],
      [hub, limits.hubLeaseMs, ...namespaces],
    )
    return { lapsed: reply === 1 }
  }

  async live(): Promise<readonly LiveHub[]> {
    const { connections, keys } = this.#store
    const reply = (await this.#store.run(null, 'live-hubs', [keys.hubs], [])) as string[]
    const hubs = Array.from({ length: reply.length / 2 }, (_, i) => reply[2 * i] ?? '')
    return Promise.all(
      hubs.map(async (hub, index) => ({
        hub,
        leaseMs: Number(reply[2 * index + 1]),
        namespaces: (await connections.call('SMEMBERS', keys.hubNamespaces(hub))) as string[],
      })),
    )
  }

  async expired(): Promise<readonly { hub: string; namespaces: readonly string[] }[]> {
    const { connections, keys } = this.#store
    const hubs = (await this.#store.run(null, 'due', [keys.hubs], [100])) as string[]
    return Promise.all(
      hubs.map(async (hub) => ({
        hub,
        namespaces: (await connections.call('SMEMBERS', keys.hubNamespaces(hub))) as string[],
      })),
    )
  }

  async isExpired(hub: string): Promise<boolean> {
    return (await this.#ifExpired(hub, false)) === 1
  }

  async bury(hub: string): Promise<void> {
    await this.#ifExpired(hub, true)
  }

  #ifExpired(hub: string, bury: boolean): Promise<ScriptReply> {
    const { keys } = this.#store
    return this.#store.run(null, 'bury-lease', [keys.hubs, keys.hubNamespaces(hub)], [hub, bury ? 1 : 0])
  }

  async forget(hub: string): Promise<void> {
    const { connections, keys } = this.#store
    await connections.call('ZREM', keys.hubs, hub)
    await connections.call('DEL', keys.hubNamespaces(hub))
  }
}
