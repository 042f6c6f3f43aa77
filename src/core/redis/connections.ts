import { Redis } from 'ioredis'
import { MeshError } from '../../../protocol/errors.ts'

const OLDEST_VERSION = '7.0.0'
const COMMAND_TIMEOUT_MS = 5_000
const CONNECT_TIMEOUT_MS = 5_000
const RETRY_MAX_MS = 2_000

export type Argument = string | number
/** What a script answers; RESP2 shapes. */
export type ScriptReply = string | number | null | ScriptReply[]

export interface RedisOptions {
  /** `redis://[user:password@]host:port[/db]` */
  readonly url: string
  /** Called at each failure of a connection that is not the answer to a command; also when it is back (`null`). */
  readonly onError?: ((error: Error | null) => void) | undefined
}

/**
 * A failed command, as every operation of the core tells it: `store_unavailable`, or an Error where a script has a defect, which no
 * repetition mends. Of what ioredis throws only the message is kept: its `command` has every payload of the call.
 */
export function toStoreError(thrown: unknown): Error {
  if (thrown instanceof MeshError) return thrown
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  if (/^(ERR|WRONGTYPE) /.test(reason)) return new Error(`Redis refused a command: ${reason}`)
  return new MeshError('store_unavailable', `the store does not answer (${reason}); try again`, {
    retryAfterMs: 500,
  })
}

/**
 * The two connections of a hub to Redis, one for commands and one that is subscribed. The only file that knows ioredis.
 *
 * By default ioredis keeps commands while it is not connected and sends unanswered ones again after a reconnection: that
 * would store twice. Here a command that cannot be answered is rejected, and who sent it decides.
 */
export class Connections {
  readonly #commands: Redis
  readonly #subscriber: Redis
  readonly #onText = new Map<string, Set<(text: string) => void>>()
  readonly #onGap = new Set<() => void>()
  /** Scripts that are being loaded, by hash. */
  readonly #loading = new Map<string, Promise<unknown>>()

  private constructor(commands: Redis, subscriber: Redis, onError: (error: Error | null) => void) {
    this.#commands = commands
    this.#subscriber = subscriber
    commands.on('error', onError)
    subscriber.on('error', onError)
    commands.on('ready', () => onError(null))
    subscriber.on('message', (channel: string, text: string) => {
      for (const onText of this.#onText.get(channel) ?? []) onText(text)
    })
    subscriber.on('ready', () => this.#subscribeAgain())
  }

  /** @throws MeshError `store_unavailable` where nothing answers, Error where the server is older than 7.0 */
  static async open({ url, onError }: RedisOptions): Promise<Connections> {
    const options = {
      lazyConnect: true,
      protocol: 2,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      commandTimeout: COMMAND_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: (times: number) => Math.random() * Math.min(RETRY_MAX_MS, 50 * 2 ** Math.min(times, 10)),
    } as const
    const connections = new Connections(
      new Redis(url, options),
      new Redis(url, options),
      onError ?? (() => undefined),
    )
    try {
      await Promise.all([connections.#commands.connect(), connections.#subscriber.connect()])
      await connections.#checkVersion()
    } catch (error) {
      connections.close()
      throw error
    }
    return connections
  }

  async #checkVersion(): Promise<void> {
    const version = /^redis_version:(\S+)/m.exec(await this.#commands.info('server'))?.[1] ?? '0'
    const [major = 0] = version.split('.').map(Number)
    if (major < Number(OLDEST_VERSION.split('.')[0])) {
      throw new Error(`Redis ${version} is too old: Meshwire needs ${OLDEST_VERSION} or later`)
    }
  }

  /**
   * EVALSHA, and SCRIPT LOAD before it where the server does not know the script (it restarted). Calls of one script take
   * effect in the order they were made, also while it is loaded: a send must not overtake another one.
   */
  async run(
    sha: string,
    source: string,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<ScriptReply> {
    try {
      // One step behind those that were turned away before.
      await this.#loading.get(sha)?.then(() => undefined)
      return await this.#evalsha(sha, keys, args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw toStoreError(error)
    }
    // NOSCRIPT means that nothing ran, so running it now runs it once.
    try {
      await this.#load(sha, source)
      return await this.#evalsha(sha, keys, args)
    } catch (error) {
      throw toStoreError(error)
    }
  }

  /** One SCRIPT LOAD for all who wait for it. */
  #load(sha: string, source: string): Promise<unknown> {
    const known = this.#loading.get(sha)
    if (known) return known
    const loading = this.#commands.script('LOAD', source).finally(() => this.#loading.delete(sha))
    this.#loading.set(sha, loading)
    return loading
  }

  async #evalsha(sha: string, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply> {
    return (await this.#commands.evalsha(sha, keys.length, ...keys, ...args)) as ScriptReply
  }

  async call(command: string, ...args: Argument[]): Promise<ScriptReply> {
    try {
      return (await this.#commands.call(command, ...args)) as ScriptReply
    } catch (error) {
      throw toStoreError(error)
    }
  }

  /** `onGap`: signals may have been lost, the subscriber connected again. */
  async subscribe(
    channels: readonly string[],
    onText: (text: string) => void,
    onGap: () => void,
  ): Promise<void> {
    for (const channel of channels)
      this.#onText.set(channel, (this.#onText.get(channel) ?? new Set()).add(onText))
    this.#onGap.add(onGap)
    try {
      await this.#subscriber.subscribe(...channels)
    } catch (error) {
      await this.unsubscribe(channels, onText, onGap)
      throw toStoreError(error)
    }
  }

  async unsubscribe(
    channels: readonly string[],
    onText: (text: string) => void,
    onGap: () => void,
  ): Promise<void> {
    this.#onGap.delete(onGap)
    const unused: string[] = []
    for (const channel of channels) {
      const listeners = this.#onText.get(channel)
      listeners?.delete(onText)
      if (listeners?.size !== 0) continue
      this.#onText.delete(channel)
      unused.push(channel)
    }
    // Not connected: nothing is subscribed at the server, and `#onText` says what will be.
    if (unused.length === 0 || this.#subscriber.status !== 'ready') return
    try {
      await this.#subscriber.unsubscribe(...unused)
    } catch (error) {
      throw toStoreError(error)
    }
  }

  #subscribeAgain(): void {
    const channels = [...this.#onText.keys()]
    if (channels.length === 0) return
    this.#subscriber.subscribe(...channels).then(
      () => {
        for (const onGap of this.#onGap) onGap()
      },
      // Half a subscription is worse than none: begin again with a new connection.
      () => this.#subscriber.disconnect(true),
    )
  }

  close(): void {
    this.#commands.disconnect()
    this.#subscriber.disconnect()
  }
}
