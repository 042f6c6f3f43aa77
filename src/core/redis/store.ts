import type { CoreLimits } from '../core.ts'
import type { Argument, Connections, ScriptReply } from './connections.ts'
import { Epochs } from './epochs.ts'
import type { Keys, NamespaceKeys } from './keys.ts'
import { hasEpoch, type ScriptName, type Scripts } from './scripts.ts'
import { EpochEnded } from './store-error.ts'

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
  readonly epochs: Epochs
  readonly #scripts: Scripts

  constructor(connections: Connections, scripts: Scripts, keys: Keys, limits: CoreLimits) {
    this.connections = connections
    this.#scripts = scripts
    this.epochs = new Epochs(connections, scripts)
    this.keys = keys
    this.limits = limits
  }

  /**
   * Runs a script of the mesh, for which `namespace` is null, or of a namespace: all that is run with the same NamespaceKeys happens in one
   * epoch or not at all. `keys` and `args` are lent: both are longer meanwhile.
   * @throws MeshError `store_unavailable`; EpochEnded, which is one
   */
  async run(
    namespace: NamespaceKeys | null,
    name: ScriptName,
    keys: string[],
    args: Argument[],
  ): Promise<ScriptReply> {
    if (namespace === null || !hasEpoch(name)) return this.#scripts.run(this.connections, name, keys, args)
    // No turn is waited for where the epoch is known: calls reach the store in the order they are made in.
    namespace.epoch ??= this.epochs.current(namespace) ?? (await this.epochs.open(namespace)).name
    const { epoch } = namespace
    keys.push(namespace.meta)
    args.push(epoch)
    try {
      return await this.#scripts.run(this.connections, name, keys, args)
    } catch (error) {
      if (error instanceof EpochEnded) this.epochs.end(namespace, epoch)
      throw error
    } finally {
      keys.pop()
      args.pop()
    }
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
