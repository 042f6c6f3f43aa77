import type { CoreLimits } from '../core.ts'
import type { Argument, Connections } from './connections.ts'
import type { Keys, NamespaceKeys } from './keys.ts'
import type { Scripts } from './scripts.ts'

/** What every part of the Redis core works with. */
export interface Store {
  readonly connections: Connections
  readonly scripts: Scripts
  readonly keys: Keys
  readonly limits: CoreLimits
}

/** ARGV[1..4] of the scripts that use lua/_dead.lua. */
export function preludeArgs(store: Store, keys: NamespaceKeys): Argument[] {
  return ['PUBLISH', keys.root, store.limits.eventsMax, store.limits.deadMax]
}
