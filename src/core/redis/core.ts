import type { Core, CoreLimits } from '../core.ts'
import { RedisBroadcasts } from './broadcasts.ts'
import { RedisBus } from './bus.ts'
import { Cluster } from './cluster.ts'
import type { ConnectionsOptions, RedisTls } from './connections.ts'
import { RedisDeadLetters } from './dead-letters.ts'
import { RedisInboxes } from './inboxes.ts'
import { Keys } from './keys.ts'
import { RedisLeases } from './leases.ts'
import { RedisQueues } from './queues.ts'
import { parseRedisUrl } from './redis-url.ts'
import { RedisRegistry } from './registry.ts'
import { Scripts } from './scripts.ts'
import { RedisSends } from './sends.ts'
import { SingleServer } from './single-server.ts'
import { Store } from './store.ts'

const CANARY_INTERVAL_MS = 5_000

export interface RedisCoreOptions {
  /** As parseRedisUrl of redis-url.ts takes it. */
  readonly url: string
  /** Certificates for URLs that mean TLS. */
  readonly tls?: RedisTls | undefined
  /** What every key starts with. */
  readonly keyPrefix: string
  readonly limits: CoreLimits
  /** Called with each failure of a connection, and with null when commands can be sent again. */
  readonly onError?: ((error: Error | null) => void) | undefined
  /** Milliseconds between two canaries: what the hub publishes to itself, to see that its subscription lives. */
  readonly canaryIntervalMs?: number | undefined
}

/**
 * The core on Redis 7.0 or later: one server, one that Sentinels name, or a Cluster.
 * @throws RedisUrlError for a URL that names no store, MeshError `store_unavailable` where nothing answers there, UnfitServer where what
 * answers must not keep a mesh
 */
export async function connectRedisCore(options: RedisCoreOptions): Promise<Core> {
  const onError = options.onError ?? (() => undefined)
  const target = parseRedisUrl(options.url)
  const scripts = new Scripts()
  const opening: ConnectionsOptions = {
    target,
    tls: options.tls ?? {},
    keyPrefix: options.keyPrefix,
    sources: scripts.sources,
    onError,
    canaryIntervalMs: options.canaryIntervalMs ?? CANARY_INTERVAL_MS,
  }
  const connections = await (target.kind === 'cluster' ? Cluster.open(opening) : SingleServer.open(opening))
  const store = new Store(connections, scripts, new Keys(options.keyPrefix), options.limits)
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
    problems: () => connections.problems(),
    close: () => {
      connections.close()
      return Promise.resolve()
    },
  }
}
