import { Redis } from 'ioredis'
import { startRedis } from '../support/redis.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import type { Dice } from './dice.ts'
import type { Recorder } from './recorder.ts'

/** Something that goes wrong, and is mended again. */
export interface Fault {
  readonly name: string
  /** Resolves when it is mended, about `ms` later. */
  strike(ms: number, dice: Dice, recorder: Recorder): Promise<void>
}

/** The store of a mesh under test, with the faults it can have. */
export interface Store extends AsyncDisposable {
  readonly name: string
  /** What the hub with that index is started with: each hub has its own way to the store. */
  flagsFor(hub: number): Promise<Readonly<Record<string, string>>>
  readonly faults: readonly Fault[]
  /** Ends all faults. */
  heal(): Promise<void>
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** The embedded core: a hub has it to itself, and nothing of it can fail alone. */
export const embeddedStore = (): Store => ({
  name: 'embedded',
  flagsFor: () => Promise.resolve({}),
  faults: [],
  heal: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
})

/** Faults of a network; each strikes one way (all of its proxies), or all of them. */
export function networkFaults(name: string, ways: () => readonly (readonly TcpProxy[])[]): Fault[] {
  const some = (dice: Dice): readonly TcpProxy[] => (dice.chance(0.3) ? ways().flat() : dice.pick(ways()))
  const fault = (kind: string, strike: (proxy: TcpProxy, dice: Dice) => void): Fault => ({
    name: `${name} ${kind}`,
    async strike(ms, dice) {
      const struck = some(dice)
      for (const proxy of struck) strike(proxy, dice)
      await wait(ms)
      for (const proxy of struck) proxy.heal()
    },
  })
  return [
    fault('cut', (proxy) => proxy.cut()),
    fault('refused', (proxy) => proxy.refuse()),
    fault('delayed', (proxy, dice) => proxy.delay(dice.between(20, 300), dice.pick(['up', 'down', 'both']))),
    fault('stalled', (proxy, dice) => proxy.stall(dice.pick(['up', 'down', 'both']))),
    fault('half-open', (proxy, dice) => proxy.halfOpen(dice.pick(['near', 'far']))),
    fault('one stalled', (proxy, dice) => {
      if (proxy.connections.length > 0) dice.pick(proxy.connections).stall()
    }),
    fault('one cut', (proxy, dice) => {
      if (proxy.connections.length > 0) dice.pick(proxy.connections).cut()
    }),
  ]
}

/** One redis-server that keeps what it has answered for (`appendfsync always`), behind a proxy for each hub. */
export async function redisStore(): Promise<Store> {
  const server = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
  const proxies: TcpProxy[] = []
  const admin = async (...command: readonly [string, ...string[]]): Promise<void> => {
    const client = new Redis(server.url, { retryStrategy: () => null, maxRetriesPerRequest: 0 })
    client.on('error', () => undefined)
    try {
      await client.call(...command)
    } catch {
      // Another fault has it down: then there is nothing to do.
    } finally {
      client.disconnect()
    }
  }
  return {
    name: 'redis',
    async flagsFor(hub) {
      const proxy = (proxies[hub] ??= await startTcpProxy(server.port))
      return { '--redis-url': `redis://127.0.0.1:${proxy.port}` }
    },
    faults: [
      ...networkFaults('store', () => proxies.map((proxy) => [proxy])),
      {
        name: 'store killed',
        async strike(ms) {
          await server.kill()
          await wait(ms)
          await server.restart()
        },
      },
      {
        name: 'store frozen',
        async strike(ms) {
          server.pause()
          await wait(ms)
          server.resume()
        },
      },
      { name: 'store pubsub killed', strike: () => admin('CLIENT', 'KILL', 'TYPE', 'pubsub') },
      {
        name: 'store paused',
        async strike(ms) {
          await admin('CLIENT', 'PAUSE', String(ms), 'ALL')
          await wait(ms)
        },
      },
    ],
    heal: () => {
      server.resume()
      for (const proxy of proxies) proxy.heal()
      return Promise.resolve()
    },
    async [Symbol.asyncDispose]() {
      await server.stop()
      await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()))
    },
  }
}
