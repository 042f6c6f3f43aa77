import type * as library from '../../client/node.ts'
import type { AgentOptions, Client, StatusEvent, Watch, WatchEvent } from '../../client/api.ts'

/** What a captive portal does to who wants a WebSocket: shows a page, says nothing, or lets it in and shows a page there. */
export type Capture = 'page' | 'silence' | 'page in a message'

/** What a user of `meshwire/client` imports; of the entry that is tested. */
export type Library = typeof library

/** What a case asks of the hub and of the network between; all of it happens in Node, wherever the case runs. */
export interface World {
  /** Where the hub is, by way of the proxy. */
  readonly url: string
  /** Cuts every connection; new ones may come. */
  cut(): Promise<void>
  /** Nothing passes either way, and nobody is told, until `heal`. */
  stall(): Promise<void>
  /** New connections are refused and those there are cut, until `heal`. */
  refuse(): Promise<void>
  /** Who connects reaches what is no hub, as behind a captive portal, until `heal`; connections there are are cut. */
  capture(capture: Capture): Promise<void>
  heal(): Promise<void>
  /** Ends the hub like a crash. */
  killHub(): Promise<void>
  /** Starts it again. */
  startHub(): Promise<void>
}

/** How a case wants its hub: in the test's process, or in one of its own that can be killed, with or without Redis. */
export type HubKind = 'here' | 'process' | 'process on redis'

export interface Case {
  readonly title: string
  /** Default `here`. */
  readonly hub?: HubKind
  run(stage: Stage): Promise<void>
}

/** What a case has: the client, and the world around it. Clients that it joined are closed after it. */
export class Stage {
  readonly library: Library
  readonly world: World
  readonly #clients: Client[] = []

  constructor(library: Library, world: World) {
    this.library = library
    this.world = world
  }

  /** A new agent, its id the same as its name. */
  readonly join = async (name: string, options: Partial<AgentOptions> = {}): Promise<Client> => {
    const client = await this.library.connect({
      url: this.world.url,
      name,
      id: name,
      capabilities: ['test'],
      concurrency: 8,
      closeTimeoutMs: 1000,
      ...options,
    })
    this.#clients.push(client)
    return client
  }

  async end(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
  }
}

/** The next status event of a type. To be called before it happens, and awaited after. */
export async function until<Type extends StatusEvent['type']>(
  client: Client,
  type: Type,
): Promise<Extract<StatusEvent, { type: Type }>> {
  const events = client.status()
  // The state as it is now is no news.
  await events.next()
  for await (const event of events)
    if (event.type === type) return event as Extract<StatusEvent, { type: Type }>
  throw new Error(`the client ended without ${type}`)
}

/** The next event of a watch that matches. */
export async function untilEvent(watch: Watch, match: (event: WatchEvent) => boolean): Promise<WatchEvent> {
  for (;;) {
    const { value, done } = await watch.next()
    if (done === true) throw new Error('the watch is over')
    if (match(value)) return value
  }
}

/** Items that come one by one; `has(n)` resolves with them all when there are n. */
export class Collector<Item> {
  readonly items: Item[] = []
  #check: () => void = () => undefined

  add(item: Item): void {
    this.items.push(item)
    this.#check()
  }

  has(count: number): Promise<readonly Item[]> {
    return new Promise((resolve) => {
      this.#check = () => {
        if (this.items.length >= count) resolve(this.items)
      }
      this.#check()
    })
  }
}

/** Collects the payloads of what a client has no other handler for. */
export function collect(client: Client): Collector<unknown> {
  const collector = new Collector<unknown>()
  client.onMessage(({ payload }) => collector.add(payload))
  return collector
}
