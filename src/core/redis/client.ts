import { createConnection, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import { addressText, type RedisAddress, type RedisTarget } from './redis-url.ts'

/** Without the one option that would change what replies look like. */
type DriverOptions = Omit<RedisOptions, 'replyMapping'>

const COMMAND_TIMEOUT_MS = 5_000
const CONNECT_TIMEOUT_MS = 5_000
const RETRY_MAX_MS = 2_000
/** How long the other side may take to agree that a connection ends. */
const DISCONNECT_TIMEOUT_MS = 200

export type Argument = string | number
/** What a script answers; RESP2 shapes. */
export type ScriptReply = string | number | null | ScriptReply[]

/** Certificates for TLS, PEM. Absent: the authorities that Node trusts, and no certificate of one's own. */
export interface RedisTls {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

export interface ClientOptions {
  readonly target: RedisTarget
  /** The node of a Cluster that is meant. */
  readonly address: RedisAddress
  readonly tls: RedisTls
  /** The server that answers is ready, and by this INFO it is known. */
  readonly onReady: (info: string) => void
  readonly onError: (error: Error) => void
  /** The connection was lost. */
  readonly onLost?: () => void
  /** A command was not answered in time: the connection is half open or the server hangs, and another one is made. */
  readonly onTimeout?: () => void
  readonly onText?: (channel: string, text: string) => void
  /** A Cluster's node has taken back a subscription: its slot moved. */
  readonly onMoved?: () => void
}

const retryMs = (times: number): number =>
  Math.random() * Math.min(RETRY_MAX_MS, 50 * 2 ** Math.min(times, 10))

const tlsOptions = ({ ca, cert, key }: RedisTls): ConnectionOptions => ({
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
})

const login = (username: string | null, password: string | null): DriverOptions => ({
  ...(username === null ? {} : { username }),
  ...(password === null ? {} : { password }),
})

/** Finds out whom to dial; rejects where that is of no use any more. */
type Locate = (isWanted: () => boolean) => Promise<RedisAddress>

/**
 * How ioredis gets its sockets. Its own connectors listen for one error only: a TLS socket may have another one after it, which
 * would end the process.
 */
const connectorTo = (locate: Locate, tls: ConnectionOptions | null): new () => AbstractConnector =>
  class extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS)
    }

    async connect(): Promise<Socket> {
      this.connecting = true
      const address = await locate(() => this.connecting)
      if (!this.connecting) throw new Error('Connection is closed.')
      const socket = tls ? connectTls({ ...tls, ...address }) : createConnection({ ...address })
      socket.on('error', (error) => {
        this.firstError = error
      })
      this.stream = socket
      return socket
    }
  }

/** What every connection has in common, to Sentinels as well. */
const commonOptions = (locate: Locate, tls: ConnectionOptions | null): DriverOptions => ({
  // ioredis has to know whether it waits for a handshake.
  ...(tls ? { tls } : {}),
  Connector: connectorTo(locate, tls),
  lazyConnect: true,
  protocol: 2,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: CONNECT_TIMEOUT_MS,
})

/** Whom one Sentinel calls the primary. */
async function askSentinel(sentinel: RedisAddress, { target, tls }: ClientOptions): Promise<RedisAddress> {
  const redis = new Redis({
    ...commonOptions(() => Promise.resolve(sentinel), target.tls ? tlsOptions(tls) : null),
    ...login(target.sentinelUsername, target.sentinelPassword),
    enableReadyCheck: false,
    retryStrategy: null,
  })
  let failure: Error | null = null
  redis.on('error', (error: Error) => (failure ??= error))
  try {
    await redis.connect()
    const reply = await redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', target.primaryName ?? '')
    const [host, port] = (reply ?? []) as string[]
    if (host === undefined) throw new Error(`it knows no primary ${target.primaryName}`)
    return { host, port: Number(port) }
  } catch (error) {
    const reason = failure ?? (error as Error)
    throw new Error(`Sentinel ${addressText(sentinel)}: ${reason.message}`, { cause: error })
  } finally {
    redis.disconnect()
  }
}

/**
 * Asks one Sentinel after another, and begins again after a while where none answers.
 * @param hasMet whether there has been a connection: the first one fails where no Sentinel answers, later ones are tried for ever
 */
function askSentinels(options: ClientOptions, hasMet: () => boolean): Locate {
  const sentinels = [...options.target.addresses]
  return async (isWanted) => {
    for (let round = 1; ; round++) {
      for (const sentinel of [...sentinels]) {
        if (!isWanted()) throw new Error('Connection is closed.')
        // Who is wrong or slow is asked last the next time.
        sentinels.push(...sentinels.splice(sentinels.indexOf(sentinel), 1))
        try {
          return await askSentinel(sentinel, options)
        } catch (error) {
          options.onError(error as Error)
        }
      }
      if (!hasMet()) throw new Error('no Sentinel tells where the primary is')
      await delay(retryMs(round))
    }
  }
}

function driverOptions(options: ClientOptions, hasMet: () => boolean): DriverOptions {
  const { target, address, tls } = options
  const isNamed = target.kind === 'sentinel'
  const locate = isNamed ? askSentinels(options, hasMet) : () => Promise.resolve(address)
  return {
    ...commonOptions(locate, target.tls ? tlsOptions(tls) : null),
    ...login(target.username, target.password),
    db: target.db,
    retryStrategy: retryMs,
    // Whom the Sentinels have made a replica takes no writes: ask them again.
    ...(isNamed ? { reconnectOnError: (error) => error.message.startsWith('READONLY') } : {}),
  }
}

/**
 * One connection to one server, which comes back by itself. The only file that knows ioredis.
 *
 * By default ioredis keeps commands while it is not connected and sends unanswered ones again after a reconnection: that
 * would store twice. Here a command that cannot be answered is rejected, and who sent it decides.
 */
export class Client {
  readonly #redis: Redis
  readonly #onTimeout: (() => void) | undefined
  #ready = false
  #onMet: (failure: Error | null) => void = () => undefined
  readonly #met: Promise<void>

  constructor(options: ClientOptions) {
    let met = false
    const redis = new Redis(driverOptions(options, () => met))
    this.#redis = redis
    this.#onTimeout = options.onTimeout
    this.#met = new Promise<void>((resolve, reject) => {
      this.#onMet = (failure) => (failure ? reject(failure) : resolve())
    })
    this.#met.catch(() => undefined)
    const lost = (): void => {
      const was = this.#ready
      this.#ready = false
      if (was) options.onLost?.()
    }
    redis.on('error', options.onError)
    redis.on('close', lost)
    redis.on('ready', () => {
      const { db } = options.target
      // Asked for once more: ioredis goes on in database 0 where the server refuses another one.
      const selected = db === 0 ? null : redis.select(db)
      Promise.all([redis.info(), selected]).then(
        ([info]) => {
          if (redis.status !== 'ready') return
          // Sentinels may be late: it is not the primary any more, or not yet.
          if (options.target.kind === 'sentinel' && /^role:slave/m.test(info)) {
            this.reconnect()
            return
          }
          this.#ready = met = true
          options.onReady(info)
          this.#onMet(null)
        },
        // The connection is lost again, or of no use: this user may not ask, or there is no such database.
        (error: Error) => {
          options.onError(error)
          this.#onMet(error)
          this.reconnect()
        },
      )
    })
    const { onText, onMoved } = options
    if (onText) {
      redis.on('message', onText)
      redis.on('smessage', onText)
    }
    if (onMoved) redis.on('moved', onMoved)
  }

  /** Whether the server can be asked: connected, and known. */
  get ready(): boolean {
    return this.#ready
  }

  /** The first connection; afterwards it comes back by itself. Rejects where it fails, after `onError`. */
  async connect(): Promise<void> {
    await this.#redis.connect()
    await this.#met
  }

  /** Never resends. Rejects with what the server or ioredis says. */
  async call(command: string, ...args: Argument[]): Promise<ScriptReply> {
    return this.#answer(this.#redis.call(command, ...args))
  }

  async evalsha(sha: string, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply> {
    return this.#answer(this.#redis.evalsha(sha, keys.length, ...keys, ...args))
  }

  async subscribe(channels: readonly string[], sharded: boolean): Promise<void> {
    await this.#answer(sharded ? this.#redis.ssubscribe(...channels) : this.#redis.subscribe(...channels))
  }

  async unsubscribe(channels: readonly string[], sharded: boolean): Promise<void> {
    await this.#answer(sharded ? this.#redis.sunsubscribe(...channels) : this.#redis.unsubscribe(...channels))
  }

  async #answer(reply: Promise<unknown>): Promise<ScriptReply> {
    try {
      return (await reply) as ScriptReply
    } catch (error) {
      // Half open, or a server that hangs: what comes after would wait behind it.
      if (error instanceof Error && error.message === 'Command timed out') {
        this.reconnect()
        this.#onTimeout?.()
      }
      throw error
    }
  }

  /** Ends this connection and makes another. */
  reconnect(): void {
    if (this.#redis.status === 'ready' || this.#redis.status === 'connect') this.#redis.disconnect(true)
  }

  close(): void {
    this.#redis.disconnect()
  }
}
