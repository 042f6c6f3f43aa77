import { type Argument, Client, type RedisTls, type ScriptReply } from './client.ts'
import { addressText, type RedisAddress, type RedisTarget } from './redis-url.ts'
import { concern, infoValue, unfitness, type UnfitServer } from './server-checks.ts'
import { toStoreError, unavailable } from './store-error.ts'
import { Subscriber } from './subscriber.ts'

/** How long a written probe is kept, in milliseconds. */
const PROBE_KEPT_MS = 10_000

export interface ServerNodeOptions {
  readonly target: RedisTarget
  readonly address: RedisAddress
  readonly tls: RedisTls
  readonly canaryIntervalMs: number
  /** Lua that every server has to know before it is asked anything. */
  readonly sources: readonly string[]
  readonly onError: (error: Error) => void
  /** It can be asked again; `changed`: it is not the process that it was, and may have lost what that one had. */
  readonly onReady: (changed: boolean) => void
  readonly onLost: () => void
  readonly onText: (channel: string, text: string) => void
  readonly onGap: (channels: ReadonlySet<string>) => void
  readonly onMoved: () => void
}

/** A hub's two connections to one server (or whomever Sentinels name): one for commands, one that is subscribed. */
export class ServerNode {
  readonly subscriber: Subscriber
  readonly #options: ServerNodeOptions
  readonly #commands: Client
  readonly #sharded: boolean
  #probeKey: string
  #serverId = ''
  #unfit: UnfitServer | null = null

  /** @param probeKey a key, and the name of a channel, that this server may be asked for */
  constructor(options: ServerNodeOptions, probeKey: string) {
    this.#options = options
    this.#probeKey = probeKey
    const { target, address, tls, canaryIntervalMs, onError, onText, onGap, onMoved, onLost } = options
    this.#sharded = target.kind === 'cluster'
    this.#commands = new Client({
      target,
      address,
      tls,
      onError,
      onLost,
      onReady: (info) => this.#meet(info),
      // The same line is likely to be dead for the subscription as well, which would not notice for long.
      onTimeout: () => this.subscriber.renew(),
    })
    this.subscriber = new Subscriber(
      {
        target,
        address,
        tls,
        sharded: this.#sharded,
        canaryIntervalMs,
        onError,
        onText,
        onSubscribed: () => {
          if (this.#commands.ready) this.#options.onReady(false)
        },
        onGap,
        onMoved,
        publish: (channel, text) => this.call(this.#sharded ? 'SPUBLISH' : 'PUBLISH', channel, text),
      },
      probeKey,
    )
  }

  #meet(info: string): void {
    // A primary that followed another one for a while has a new replication id: it is the same process, with what that one had.
    const [runId, replicationId] = [infoValue(info, 'run_id') ?? '', infoValue(info, 'master_replid') ?? '']
    const serverId = `${runId}:${replicationId}`
    const changed = this.#serverId !== '' && serverId !== this.#serverId
    this.#serverId = serverId
    const { target, address } = this.#options
    this.#unfit = unfitness(info, target, address)
    const worry = this.#unfit ?? concern(info, target, address)
    if (worry) this.#options.onError(worry instanceof Error ? worry : new Error(worry))
    // Ahead of every call: one that had to be loaded first could be overtaken by the next, and sends must not overtake each other.
    // One that fails is loaded again by the next connection, or by the call that misses it.
    for (const source of this.#options.sources)
      this.#commands.call('SCRIPT', 'LOAD', source).catch(() => undefined)
    this.#options.onReady(changed)
  }

  /** The first connections. Rejects where they fail, after `onError`; they are tried again nevertheless. */
  async connect(): Promise<void> {
    await Promise.all([this.#commands.connect(), this.subscriber.connect()])
  }

  /** Which process answers, and since when it is the primary: run and replication id; `""` while none does. */
  get serverId(): string {
    return this.#commands.ready ? this.#serverId : ''
  }

  /** Why it must not keep a mesh, as far as it was asked; null: it may. */
  get unfit(): UnfitServer | null {
    return this.#unfit
  }

  /** The server does not have the slot of the old probe key any more. */
  probeWith(key: string): void {
    if (key === this.#probeKey) return
    this.#probeKey = key
    this.subscriber.watch(key)
  }

  get probeKey(): string {
    return this.#probeKey
  }

  /** EVALSHA, and SCRIPT LOAD before it where the server has forgotten the script (SCRIPT FLUSH). Rejects with what the server says. */
  async run(
    sha: string,
    source: string,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<ScriptReply> {
    if (!this.#commands.ready) throw this.#absent()
    try {
      return await this.#commands.evalsha(sha, keys, args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    }
    // NOSCRIPT means that nothing ran, so running it now runs it once.
    await this.#commands.call('SCRIPT', 'LOAD', source)
    return this.#commands.evalsha(sha, keys, args)
  }

  async call(command: string, ...args: Argument[]): Promise<ScriptReply> {
    if (!this.#commands.ready) throw this.#absent()
    return this.#commands.call(command, ...args)
  }

  #absent(): Error {
    const { target, address } = this.#options
    return unavailable(
      target.kind === 'sentinel' ? 'not connected' : `${addressText(address)} is not connected`,
    )
  }

  /** Why a message by way of this server would not arrive now; empty: it would. */
  async problems(): Promise<string[]> {
    const found: string[] = []
    try {
      await this.call('SET', this.#probeKey, '', 'PX', PROBE_KEPT_MS)
    } catch (error) {
      found.push(toStoreError(error).message)
    }
    if (!this.subscriber.alive) found.push('the subscription to the store is interrupted')
    return found
  }

  close(): void {
    this.#commands.close()
    this.subscriber.close()
  }
}
