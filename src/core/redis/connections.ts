import type { Argument, RedisTls, ScriptReply } from './client.ts'
import type { RedisTarget } from './redis-url.ts'

export type { Argument, RedisTls, ScriptReply } from './client.ts'

export interface ConnectionsOptions {
  readonly target: RedisTarget
  readonly tls: RedisTls
  /** What every key of this mesh starts with. */
  readonly keyPrefix: string
  /** Lua that every server has to know before it is asked anything. */
  readonly sources: readonly string[]
  /** Called at each failure of a connection that is not the answer to a command; with null when a connection is back. */
  readonly onError: (error: Error | null) => void
  /** Milliseconds between two canaries of a subscription. */
  readonly canaryIntervalMs: number
}

/** A hub's connections to the store, be it one server, one that Sentinels name, or a Cluster. */
export interface Connections {
  /** How scripts publish, so that subscribers hear it. */
  readonly publishCommand: 'PUBLISH' | 'SPUBLISH'
  /**
   * Which server process keeps a key now; `""` while none can be asked. Another one than before may have lost the last writes:
   * it was restarted, or was a replica.
   */
  serverOf(key: string): string
  /** Runs a script; all its keys are in one slot. @throws MeshError `store_unavailable` */
  run(sha: string, source: string, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply>
  /** @throws MeshError `store_unavailable` */
  call(command: string, key: string, ...args: Argument[]): Promise<ScriptReply>
  /**
   * Channels of one slot. `onGap`: what was published may have been lost, or the server is another one now.
   * @throws MeshError `store_unavailable`
   */
  subscribe(channels: readonly string[], onText: (text: string) => void, onGap: () => void): Promise<void>
  unsubscribe(channels: readonly string[], onText: (text: string) => void, onGap: () => void): Promise<void>
  /** Calls `onGap` of who listens to these channels. */
  tellGap(channels: ReadonlySet<string>): void
  /** Why a message that is sent now might not be stored or not arrive; empty: it would. Writes to every server. */
  problems(): Promise<string[]>
  close(): void
}
