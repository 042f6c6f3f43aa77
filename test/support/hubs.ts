import type { Settings } from '../../src/config.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { createApp } from '../../src/http/app.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { type Core, createMemoryCore, type HubServer, startHub, VERSION } from '../../src/server.ts'
import { redisOfFile } from './redis-of-file.ts'

/** What tests of both cores run on: `describe.each(CORES)('… on %s', (core) => …)`. */
export const CORES = ['memory', 'redis'] as const
export type CoreKind = (typeof CORES)[number]

/** Several hubs on one store. */
export interface Mesh {
  readonly hubs: readonly HubServer[]
  /** The hub with that index; an error where there is none. */
  hub(index: number): HubServer
  /** The store itself, as a hub sees it, for what no frame tells. */
  store(): Promise<Core>
  [Symbol.asyncDispose](): Promise<void>
}

let stores = 0

/** Settings of an empty store of its own: each call another one. */
export async function newStore(core: CoreKind): Promise<Partial<Settings>> {
  if (core === 'memory') return {}
  stores += 1
  return { redisUrl: (await redisOfFile()).url, keyPrefix: `test-${stores}` }
}

function coreLimits(settings: Partial<Settings>): Parameters<typeof createMemoryCore>[0]['limits'] {
  return parseSettings(settings)
}

/** A real hub on a free port and an empty store of its own, silent. */
export async function startTestHub(core: CoreKind, settings: Partial<Settings> = {}): Promise<HubServer> {
  return startHub({ port: 0, logLevel: 'silent', ...(await newStore(core)), ...settings })
}

/** A hub on a memory core that gives a connection only `helloTimeoutMs` for its `hello`. */
export async function startHurriedHub(
  helloTimeoutMs: number,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const core = createMemoryCore({ limits: coreLimits({}) })
  const hub = new Hub({ core, settings: parseSettings({}), log: createLog('silent'), helloTimeoutMs })
  const app = createApp(hub, VERSION)
  await hub.start()
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    url: `${address.replace('http', 'ws')}/mesh`,
    async [Symbol.asyncDispose]() {
      await hub.close()
      await app.close()
      await core.close()
    },
  }
}

/**
 * `count` hubs on one empty store: one shared core for memory, one key prefix for redis.
 * @param wrap what hub `index` gets instead of its core: a store that fails, a hub that is deaf
 */
export async function startMesh(
  core: CoreKind,
  count: number,
  settings: Partial<Settings> = {},
  wrap: ((core: Core, index: number) => Core) | null = null,
): Promise<Mesh> {
  const all = { port: 0, logLevel: 'silent' as const, ...(await newStore(core)), ...settings }
  const limits = coreLimits(settings)
  const cores: Core[] = []
  const shared: Core | null = core === 'memory' ? createMemoryCore({ limits }) : null
  if (shared) cores.push(shared)
  const open = async (): Promise<Core> => {
    if (shared) return shared
    const { redisUrl = '', keyPrefix = '' } = all
    const opened = await connectRedisCore({ url: redisUrl, keyPrefix, limits })
    cores.push(opened)
    return opened
  }
  const hubs: HubServer[] = []
  for (let i = 0; i < count; i++) {
    const own = shared || wrap ? await open() : null
    hubs.push(await startHub(own ? { ...all, core: wrap ? wrap(own, i) : own } : all))
  }
  return {
    hubs,
    hub(index) {
      const hub = hubs[index]
      if (!hub) throw new Error(`this mesh has ${hubs.length} hubs`)
      return hub
    },
    store: open,
    async [Symbol.asyncDispose]() {
      await Promise.all(hubs.map((hub) => hub.close()))
      await Promise.all(cores.map((one) => one.close()))
    },
  }
}
