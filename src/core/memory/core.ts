import type { Core, CoreLimits } from '../core.ts'
import { MemoryBroadcasts } from './broadcasts.ts'
import { MemoryBus } from './bus.ts'
import { MemoryDeadLetters } from './dead-letters.ts'
import { MemoryInboxes } from './inboxes.ts'
import { MemoryLeases } from './leases.ts'
import { Namespaces } from './namespaces.ts'
import { MemoryQueues } from './queues.ts'
import { MemoryRegistry } from './registry.ts'
import { MemorySends } from './sends.ts'

export interface MemoryCoreOptions {
  readonly limits: CoreLimits
  /** Milliseconds since 1970; default `Date.now`. */
  readonly now?: () => number
}

/**
 * A core inside this process: the same semantics as the one on Redis, and nothing outlives the process. An operation has
 * taken effect when the call returns; its answer and the signals follow in microtasks.
 */
export function createMemoryCore({ limits, now = Date.now }: MemoryCoreOptions): Core {
  const bus = new MemoryBus((name) => namespaces.release(name))
  const settings = { limits, now, bus }
  const namespaces = new Namespaces(settings)
  return {
    kind: 'memory',
    registry: new MemoryRegistry(namespaces),
    sends: new MemorySends(namespaces),
    inboxes: new MemoryInboxes(namespaces),
    broadcasts: new MemoryBroadcasts(namespaces),
    queues: new MemoryQueues(namespaces),
    deadLetters: new MemoryDeadLetters(namespaces),
    leases: new MemoryLeases(settings),
    bus,
    problems: () => Promise.resolve([]),
    close: async () => bus.close(),
  }
}
