import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Channels } from './channels.ts'
import { Client } from './client.ts'
import type { Argument, Connections, ConnectionsOptions, ScriptReply } from './connections.ts'
import type { RedisAddress } from './redis-url.ts'
import { ServerNode } from './server-node.ts'
import { explainOpening } from './single-server.ts'
import { parseSlots, slotOf, type SlotMap } from './slots.ts'
import { toStoreError, unavailable } from './store-error.ts'

/** Milliseconds between two looks at who serves what: while all is well, and while something is not. */
const REFRESH_MS = 5_000
const REFRESH_SOON_MS = 200

/**
 * Connections to a Redis Cluster: one node (of ours) for each primary that serves slots.
 *
 * No command is sent to a second node where the first one has redirected it: the new one may have been a replica that was behind,
 * or the next command of a namespace, sent there at once, would overtake it. It fails, like all that failed with a connection,
 * and what comes next goes to the new node.
 */
export class Cluster implements Connections {
  readonly publishCommand = 'SPUBLISH'
  readonly #options: ConnectionsOptions
  readonly #channels = new Channels({
    subscribe: (channels) => this.#translated(() => this.#nodeOf(channels[0] ?? '').subscriber.add(channels)),
    unsubscribe: (channels) =>
      this.#translated(async () => {
        for (const { subscriber } of this.#nodes.values())
          if (subscriber.has(channels[0] ?? '')) await subscriber.delete(channels)
      }),
  })
  readonly #failures = new Set<string>()
  readonly #nodes = new Map<string, ServerNode>()
  readonly #canaryName = randomBytes(9).toString('base64url')
  #map: SlotMap = { owners: [], primaries: new Map() }
  #timer: NodeJS.Timeout | null = null
  #refreshing: Promise<void> | null = null
  /** The map is going to be read soon. */
  #suspected = false
  #opened = false
  #closed = false

  private constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** @throws MeshError `store_unavailable` where no node answers, UnfitServer where one must not keep a mesh */
  static async open(options: ConnectionsOptions): Promise<Cluster> {
    const cluster = new Cluster(options)
    try {
      const map = await cluster.#askForSlots()
      if (!map) throw new Error('none of these nodes answers')
      await cluster.#adopt(map)
      for (const { unfit } of cluster.#nodes.values()) if (unfit) throw unfit
      if (!cluster.#isWhole()) throw new Error('not all nodes answer')
    } catch (error) {
      cluster.close()
      throw explainOpening(options, error, cluster.#failures)
    }
    cluster.#opened = true
    cluster.#schedule(REFRESH_MS)
    return cluster
  }

  /** Every slot is served by a node that can be asked. */
  #isWhole(): boolean {
    const { owners } = this.#map
    return owners.every((owner) => owner !== undefined && this.#nodes.get(owner)?.serverId)
  }

  #onError(error: Error): void {
    if (this.#opened) this.#options.onError(error)
    else this.#failures.add(error.message)
  }

  /** Asks the nodes known, then those that were named, who serves what; null: nobody answers. */
  async #askForSlots(): Promise<SlotMap | null> {
    for (const [name, node] of this.#nodes) {
      const address = this.#map.primaries.get(name)
      if (!address || node.serverId === '') continue
      try {
        return parseSlots(await node.call('CLUSTER', 'SLOTS'), address)
      } catch (error) {
        this.#onError(toStoreError(error))
      }
    }
    for (const address of [...this.#options.target.addresses, ...this.#map.primaries.values()]) {
      const map = await this.#askAt(address)
      if (map) return map
    }
    return null
  }

  async #askAt(address: RedisAddress): Promise<SlotMap | null> {
    const { target, tls } = this.#options
    const client = new Client({
      target,
      address,
      tls,
      onError: (error) => this.#onError(error),
      onReady: () => undefined,
    })
    try {
      await client.connect()
      return parseSlots(await client.call('CLUSTER', 'SLOTS'), address)
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)))
      return null
    } finally {
      client.close()
    }
  }

  #schedule(ms: number): void {
    if (this.#closed) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#refresh(), ms)
    this.#timer.unref()
  }

  /** Something was elsewhere than thought, or a node is gone. However often this is said, the map is read as soon as after the first. */
  #suspect(): void {
    if (!this.#opened || this.#refreshing || this.#suspected) return
    this.#suspected = true
    this.#schedule(REFRESH_SOON_MS)
  }

  async #refresh(): Promise<void> {
    this.#suspected = false
    this.#refreshing ??= this.#askForSlots()
      .then(async (map) => {
        if (map && !this.#closed) await this.#adopt(map)
      })
      .catch((error: unknown) => this.#onError(toStoreError(error)))
      .finally(() => {
        this.#refreshing = null
        this.#schedule(this.#isWhole() ? REFRESH_MS : REFRESH_SOON_MS)
      })
    await this.#refreshing
  }

  /** From now on commands and subscriptions go where this map says. Resolves when new nodes have answered or failed. */
  async #adopt(map: SlotMap): Promise<void> {
    this.#map = map
    for (const [name, node] of this.#nodes) {
      if (map.primaries.has(name)) continue
      this.#nodes.delete(name)
      node.close()
    }
    const opening: Promise<unknown>[] = []
    for (const [name, address] of map.primaries) {
      const known = this.#nodes.get(name)
      const probeKey = this.#probeKey(name, known?.probeKey)
      if (known) known.probeWith(probeKey)
      else opening.push(this.#openNode(name, address, probeKey))
    }
    this.#moveSubscriptions()
    await Promise.all(opening)
    // Sockets that failed at once are told in a later turn.
    await nextTurn()
  }

  async #openNode(name: string, address: RedisAddress, probeKey: string): Promise<void> {
    const node = new ServerNode(
      {
        ...this.#options,
        address,
        onError: (error) => this.#onError(error),
        onReady: (changed) => {
          if (this.#opened) this.#options.onError(null)
          if (changed) this.#channels.gap(node.subscriber.channels)
        },
        onLost: () => this.#suspect(),
        onText: (channel, text) => this.#channels.hear(channel, text),
        onGap: (channels) => this.#channels.gap(channels),
        onMoved: () => this.#suspect(),
      },
      probeKey,
    )
    this.#nodes.set(name, node)
    // It goes on trying, and `#isWhole` tells.
    await node.connect().catch(() => undefined)
  }

  /** A key, and a channel, in a slot of this node; the one it had where that still is. */
  #probeKey(node: string, last: string | undefined): string {
    const { owners } = this.#map
    if (last !== undefined && owners[slotOf(last)] === node) return last
    for (let tag = 0; ; tag++) {
      const key = `${this.#options.keyPrefix}:{canary-${tag}}:${this.#canaryName}`
      if (owners[slotOf(key)] === node) return key
    }
  }

  /** Subscribes where channels are served now, and unsubscribes where they were. */
  #moveSubscriptions(): void {
    const moved = new Map<ServerNode, string[]>()
    for (const channel of this.#channels.names) {
      const owner = this.#nodes.get(this.#map.owners[slotOf(channel)] ?? '')
      if (!owner || owner.subscriber.has(channel)) continue
      const list = moved.get(owner)
      if (list) list.push(channel)
      else moved.set(owner, [channel])
    }
    for (const [owner, channels] of moved) {
      for (const node of this.#nodes.values()) {
        const had = channels.filter((channel) => node !== owner && node.subscriber.has(channel))
        // The server has unsubscribed them itself where the slot has gone.
        if (had.length > 0) node.subscriber.delete(had).catch(() => undefined)
      }
      owner.subscriber.add(channels).then(
        () => this.#channels.gap(new Set(channels)),
        // Subscribed when that node is connected, or looked for again.
        () => this.#suspect(),
      )
    }
  }

  #nodeOf(key: string): ServerNode {
    const slot = slotOf(key)
    const owner = this.#map.owners[slot]
    const node = owner === undefined ? undefined : this.#nodes.get(owner)
    if (node) return node
    this.#suspect()
    throw unavailable(`no node of the Cluster serves slot ${slot}`)
  }

  async #translated<Result>(task: () => Promise<Result>): Promise<Result> {
    try {
      return await task()
    } catch (error) {
      throw this.#translate(error)
    }
  }

  /** What a node's refusal means for the map. */
  #translate(error: unknown): Error {
    const [code, slot] = error instanceof Error ? error.message.split(' ') : []
    if (code === 'MOVED' || code === 'CLUSTERDOWN') this.#suspect()
    if (code === 'MOVED') return unavailable(`slot ${slot} has moved to another node`)
    if (code === 'ASK' || code === 'TRYAGAIN') return unavailable('the slot is being moved to another node')
    return toStoreError(error)
  }

  serverOf(key: string): string {
    return this.#nodes.get(this.#map.owners[slotOf(key)] ?? '')?.serverId ?? ''
  }

  run(sha: string, source: string, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply> {
    return this.#translated(() => this.#nodeOf(keys[0] ?? '').run(sha, source, keys, args))
  }

  call(command: string, key: string, ...args: Argument[]): Promise<ScriptReply> {
    return this.#translated(() => this.#nodeOf(key).call(command, key, ...args))
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

  async problems(): Promise<string[]> {
    const found = await Promise.all(
      Array.from(this.#nodes, async ([name, node]) =>
        (await node.problems()).map((problem) => `${name}: ${problem}`),
      ),
    )
    const unserved = this.#map.owners.filter((owner) => owner === undefined).length
    if (unserved > 0) found.push([`${unserved} slots are served by no node`])
    return found.flat()
  }

  close(): void {
    this.#closed = true
    if (this.#timer) clearTimeout(this.#timer)
    for (const node of this.#nodes.values()) node.close()
  }
}
