import type { CoreLimits } from '../core.ts'
import type { Argument, Connections, ScriptReply } from './connections.ts'
import type { Keys, NamespaceKeys } from './keys.ts'
import type { ScriptName, Scripts } from './scripts.ts'

/**
 * Texts above this many bytes are left out of signals and read from the store: a subscriber that falls behind is cut off
 * at 32 MiB of output by Redis' default `client-output-buffer-limit pubsub`.
 */
export const INLINE_MAX = 65_536

/** What every part of the Redis core works with. */
export class Store {
  readonly connections: Connections
  readonly keys: Keys
  readonly limits: CoreLimits
  readonly #scripts: Scripts

  constructor(connections: Connections, scripts: Scripts, keys: Keys, limits: CoreLimits) {
    this.connections = connections
    this.#scripts = scripts
    this.keys = keys
    this.limits = limits
  }

  /**
   * Runs a script of a namespace; null: of the mesh.
   * @throws MeshError `store_unavailable`
   */
  run(
    _namespace: NamespaceKeys | null,
    name: ScriptName,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<ScriptReply> {
    return this.#scripts.run(this.connections, name, keys, args)
  }
}

/** ARGV[1..4] of the scripts that use lua/_dead.lua. */
export function preludeArgs({ limits, connections }: Store, keys: NamespaceKeys): Argument[] {
  return [connections.publishCommand, keys.root, limits.eventsMax, limits.deadMax]
}

/** ARGV[1..7] of the scripts that use lua/_tasks.lua. */
export function taskArgs(store: Store, keys: NamespaceKeys): Argument[] {
  const { maxAttempts, ackTimeoutMs, retentionMs } = store.limits
  return [...preludeArgs(store, keys), maxAttempts, ackTimeoutMs, retentionMs]
}

/**
 * Runs a script that uses lua/_receipts.lua. Which senders it has to tell is only known in the store, and their lanes have to be
 * declared: where some are not, it changes nothing and says which, and is run again.
 * @throws MeshError `store_unavailable`
 */
export async function runWithSenders(
  store: Store,
  name: ScriptName,
  namespace: NamespaceKeys,
  keys: readonly string[],
  args: readonly Argument[],
): Promise<ScriptReply> {
  const senders = new Set<string>()
  for (;;) {
    const lanes = Array.from(senders, (sender) => namespace.lane(sender, 'replies'))
    const reply = await store.run(namespace, name, [...keys, ...lanes], [...args, ...senders, senders.size])
    if (!Array.isArray(reply) || reply[0] !== 'senders') return reply
    for (const sender of reply.slice(1)) senders.add(String(sender))
  }
}
