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

class TooOld extends Error {
  override readonly name = 'TooOld'
}

function explainOpening(url: string, cause: unknown): Error {
  if (cause instanceof TooOld) return cause
  const { protocol, host, pathname } = new URL(url)
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new MeshError(
    'store_unavailable',
    `Redis at ${protocol}//${host}${pathname} does not let this hub in (${reason}); start it, or correct REDIS_URL`,
  )
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
    let opened = false
    let failure: Error | null = null
    const connections = new Connections(new Redis(url, options), new Redis(url, options), (error) => {
      if (opened) onError?.(error)
      else failure ??= error
    })
    try {
      await Promise.all([connections.#commands.connect(), connections.#subscriber.connect()])
      await connections.#checkVersion()
    } catch (error) {
      connections.close()
      // What `connect` rejects with says less than the event before it.
      throw explainOpening(url, failure ?? error)
    }
    opened = true
    return connections
  }

  async #checkVersion(): Promise<void> {
    const version = /^redis_version:(\S+)/m.exec(await this.#commands.info('server'))?.[1] ?? '0'
    const [major = 0] = version.split('.').map(Number)
    if (major < Number(OLDEST_VERSION.split('.')[0])) {
      throw new TooOld(`Redis ${version} is too old: Meshwire needs ${OLDEST_VERSION} or later`)
    }
  }

  /**
   * Loads scripts now and whenever the server is connected again, ahead of every call: one that had to be loaded first could be
   * overtaken by the next, and sends must not overtake each other.
   */
  keepLoaded(sources: readonly string[]): void {
    const load = (): void => {
      // One that fails is loaded again by the next connection, or by the call that misses it.
      for (const source of sources) this.#commands.script('LOAD', source).catch(() => undefined)
    }
    load()
    this.#commands.on('ready', load)
  }

  /** EVALSHA, and SCRIPT LOAD before it where the server has forgotten the script (SCRIPT FLUSH). */
  async run(
    sha: string,
    source: string,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<ScriptReply> {
    try {
      return await this.#evalsha(sha, keys, args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw toStoreError(error)
    }
    // NOSCRIPT means that nothing ran, so running it now runs it once.
    try {
      await this.#commands.script('LOAD', source)
      return await this.#evalsha(sha, keys, args)
    } catch (error) {
      throw toStoreError(error)
    }
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
