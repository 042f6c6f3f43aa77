import type { Core, CoreLimits } from '../core.ts'
import { RedisBroadcasts } from './broadcasts.ts'
import { RedisBus } from './bus.ts'
import { Connections } from './connections.ts'
import { RedisDeadLetters } from './dead-letters.ts'
import { RedisInboxes } from './inboxes.ts'
import { Keys } from './keys.ts'
import { RedisLeases } from './leases.ts'
import { RedisQueues } from './queues.ts'
import { RedisRegistry } from './registry.ts'
import { Scripts } from './scripts.ts'
import { RedisSends } from './sends.ts'
import type { Store } from './store.ts'

export interface RedisCoreOptions {
  /** `redis://[user:password@]host:port[/db]` */
  readonly url: string
  /** What every key starts with. */
  readonly keyPrefix: string
  readonly limits: CoreLimits
  /** Called with each failure of a connection, and with null when commands can be sent again. */
  readonly onError?: ((error: Error | null) => void) | undefined
}

/**
 * The core on Redis 7.0 or later.
 * @throws MeshError `store_unavailable` where nothing answers at `url`, Error where the server is too old
 */
export async function connectRedisCore(options: RedisCoreOptions): Promise<Core> {
  const onError = options.onError ?? (() => undefined)
  const connections = await Connections.open({ url: options.url, onError })
  const store: Store = {
    connections,
    scripts: new Scripts(connections),
    keys: new Keys(options.keyPrefix),
    limits: options.limits,
  }
  return {
    kind: 'redis',
    registry: new RedisRegistry(store),
    sends: new RedisSends(store),
    inboxes: new RedisInboxes(store),
    broadcasts: new RedisBroadcasts(store),
    queues: new RedisQueues(store),
    deadLetters: new RedisDeadLetters(store),
    leases: new RedisLeases(store),
    bus: new RedisBus(store, onError),
    close: () => {
      connections.close()
      return Promise.resolve()
    },
  }
}
