import { type HubProcess, startHubProcess } from '../support/hub-process.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import type { Dice } from './dice.ts'
import { type Fault, networkFaults, type Store } from './store.ts'

/** Short times, so that much of what time does happens in a run. */
export const TIMES = { leaseMs: 1_500, hubGraceMs: 1_500, graceMs: 700, ackTimeoutMs: 1_500 } as const

const FLAGS = {
  '--hub-lease-ms': TIMES.leaseMs,
  '--hub-grace-ms': TIMES.hubGraceMs,
  '--grace-ms': TIMES.graceMs,
  '--ack-timeout-ms': TIMES.ackTimeoutMs,
  '--heartbeat-interval-ms': 1_000,
  '--heartbeat-timeout-ms': 1_000,
  '--rate-per-second': 0,
  '--events-max': 1_000_000,
  '--broadcast-max': 1_000_000,
  '--dead-max': 1_000_000,
} as const

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const portOf = (url: string): number => Number(new URL(url).port)

/** A hub process behind a proxy: its clients know the proxy, which stays when the process is another one. */
class ProxiedHub {
  readonly url: string
  readonly proxy: TcpProxy
  readonly #flags: Readonly<Record<string, string>>
  #process: HubProcess
  /** While it is down or frozen nothing else is done to it. */
  busy = false

  private constructor(process: HubProcess, proxy: TcpProxy, flags: Readonly<Record<string, string>>) {
    this.#process = process
    this.proxy = proxy
    this.#flags = flags
    this.url = `ws://127.0.0.1:${proxy.port}/mesh`
  }

  static async start(flags: Readonly<Record<string, string>>): Promise<ProxiedHub> {
    const process = await startHubProcess({ ...FLAGS, ...flags })
    return new ProxiedHub(process, await startTcpProxy(portOf(process.url)), flags)
  }

  /** Past the proxy. */
  get directUrl(): string {
    return this.#process.url
  }

  get process(): HubProcess {
    return this.#process
  }

  /** Tries until it runs: a hub does not start while its store does not answer. */
  async restart(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        this.#process = await startHubProcess({ ...FLAGS, ...this.#flags })
        break
      } catch (error) {
        if (tries === 20) throw error
        await wait(500)
      }
    }
    this.proxy.targetPort = portOf(this.#process.url)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.resume()
    await this.#process.kill()
    await this.proxy[Symbol.asyncDispose]()
  }
}

/** Hub processes on one store, with a proxy before each. */
export class HubFleet implements AsyncDisposable {
  readonly #hubs: readonly ProxiedHub[]
  readonly faults: readonly Fault[]

  private constructor(hubs: readonly ProxiedHub[], mortal: boolean) {
    this.#hubs = hubs
    this.faults = [
      ...networkFaults('clients', () => hubs.map(({ proxy }) => [proxy])),
      this.#fault('hub frozen', async ({ process }, ms) => {
        process.pause()
        await wait(ms)
        process.resume()
      }),
      // What the embedded core holds dies with its hub.
      ...(mortal
        ? [
            this.#fault('hub killed', async (hub, ms) => {
              await hub.process.kill()
              await wait(ms)
              await hub.restart()
            }),
            this.#fault('hub drained', async (hub) => {
              await hub.process.terminate()
              await hub.restart()
            }),
          ]
        : []),
    ]
  }

  static async start(store: Store, count: number): Promise<HubFleet> {
    const indexes = Array.from({ length: count }, (_, index) => index)
    const hubs = await Promise.all(
      indexes.map(async (index) => ProxiedHub.start(await store.flagsFor(index))),
    )
    return new HubFleet(hubs, store.name !== 'embedded')
  }

  #fault(name: string, strike: (hub: ProxiedHub, ms: number) => Promise<void>): Fault {
    return {
      name,
      strike: async (ms: number, dice: Dice) => {
        const free = this.#hubs.filter(({ busy }) => !busy)
        if (free.length === 0) return
        const hub = dice.pick(free)
        hub.busy = true
        await strike(hub, ms)
        hub.busy = false
      },
    }
  }

  /** Through the proxies, beginning with the hub of that index. */
  urlsFrom(index: number): string[] {
    const urls = this.#hubs.map(({ url }) => url)
    const first = index % urls.length
    return [...urls.slice(first), ...urls.slice(0, first)]
  }

  /** Past the proxies. */
  get directUrls(): string[] {
    return this.#hubs.map(({ directUrl }) => directUrl)
  }

  heal(): void {
    for (const { proxy, process } of this.#hubs) {
      process.resume()
      proxy.heal()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hubs.map((hub) => hub[Symbol.asyncDispose]()))
  }
}
