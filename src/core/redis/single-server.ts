import { randomBytes } from 'node:crypto'
import { MeshError } from '../../../protocol/errors.ts'
import { Channels } from './channels.ts'
import type { Argument, Connections, ConnectionsOptions, ScriptReply } from './connections.ts'
import { targetText } from './redis-url.ts'
import { UnfitServer } from './server-checks.ts'
import { ServerNode } from './server-node.ts'
import { toStoreError } from './store-error.ts'

const rethrow = (error: unknown): never => {
  throw toStoreError(error)
}

/** Connections to one Redis, or to the one that Sentinels call the primary. */
export class SingleServer implements Connections {
  readonly publishCommand = 'PUBLISH'
  readonly #channels = new Channels({
    subscribe: (channels) => this.#node.subscriber.add(channels).catch(rethrow),
    unsubscribe: (channels) => this.#node.subscriber.delete(channels).catch(rethrow),
  })
  readonly #node: ServerNode
  readonly #failures = new Set<string>()
  #opened = false

  private constructor(options: ConnectionsOptions) {
    const { target, keyPrefix, onError } = options
    const [address = { host: '', port: 0 }] = target.addresses
    this.#node = new ServerNode(
      {
        ...options,
        address,
        onError: (error) => {
          if (this.#opened) onError(error)
          else this.#failures.add(error.message)
        },
        onReady: (changed) => {
          if (this.#opened) onError(null)
          if (changed) this.#channels.gap()
        },
        onLost: () => undefined,
        onText: (channel, text) => this.#channels.hear(channel, text),
        onGap: (channels) => this.#channels.gap(channels),
        onMoved: () => undefined,
      },
      `${keyPrefix}:{canary}:${randomBytes(9).toString('base64url')}`,
    )
  }

  /** @throws MeshError `store_unavailable` where nothing answers, UnfitServer where the server must not keep a mesh */
  static async open(options: ConnectionsOptions): Promise<SingleServer> {
    const server = new SingleServer(options)
    try {
      await server.#node.connect()
      if (server.#node.unfit) throw server.#node.unfit
    } catch (error) {
      server.close()
      throw explainOpening(options, error, server.#failures)
    }
    server.#opened = true
    return server
  }

  serverOf(): string {
    return this.#node.serverId
  }

  run(sha: string, source: string, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply> {
    return this.#node.run(sha, source, keys, args).catch(rethrow)
  }

  call(command: string, key: string, ...args: Argument[]): Promise<ScriptReply> {
    return this.#node.call(command, key, ...args).catch(rethrow)
  }

  subscribe(channels: readonly string[], onText: (text: string) => void, onGap: () => void): Promise<void> {
    return this.#channels.subscribe(channels, onText, onGap)
  }

  unsubscribe(channels: readonly string[], onText: (text: string) => void, onGap: () => void): Promise<void> {
    return this.#channels.unsubscribe(channels, onText, onGap)
  }

  tellGap(channels: ReadonlySet<string>): void {
    this.#channels.gap(channels)
  }

  problems(): Promise<string[]> {
    return this.#node.problems()
  }

  close(): void {
    this.#node.close()
  }
}

/**
 * Why the store could not be opened, as an operator needs it.
 * @param failures what the connections told before `cause`, which says less. All of it: that one Sentinel is away matters less than
 * what the server says that the next one named
 */
export function explainOpening(
  { target }: ConnectionsOptions,
  cause: unknown,
  failures: ReadonlySet<string>,
): Error {
  if (cause instanceof UnfitServer) return cause
  const last = cause instanceof Error ? cause.message : String(cause)
  const reason = failures.size > 0 ? [...failures].join('; ') : last
  return new MeshError(
    'store_unavailable',
    `${targetText(target)} does not let this hub in (${reason}); start it, or correct REDIS_URL`,
  )
}
