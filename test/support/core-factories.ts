import type { Core, CoreLimits } from '../../src/core/core.ts'
import { createMemoryCore } from '../../src/core/memory/core.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { closeAfterTest, CORE_LIMITS, type CoreFactory } from './core.ts'

export const memoryFactory: CoreFactory = {
  async openCore(limits) {
    return closeAfterTest(createMemoryCore({ limits: { ...CORE_LIMITS, ...limits } }))
  },
  async openPair(limits) {
    const core = await memoryFactory.openCore(limits)
    return [core, core]
  },
}

const OF_NAMESPACES = ['registry', 'sends', 'inboxes', 'broadcasts', 'queues', 'deadLetters', 'bus'] as const

/** The core, with every namespace called something else, so that stores are spread over the slots of a Cluster. */
function renamed(core: Core, suffix: string): Core {
  const ports = OF_NAMESPACES.map((name) => {
    const port = new Proxy(core[name], {
      get(target, member) {
        const value: unknown = Reflect.get(target, member, target)
        if (typeof value !== 'function') return value
        return (namespace: string, ...args: unknown[]): unknown =>
          Reflect.apply(value, target, [namespace + suffix, ...args])
      },
    })
    return [name, port] as const
  })
  return { ...core, ...Object.fromEntries(ports) }
}

/** Cores on the Redis at `url()`, each store with a key prefix of its own and, where `spread`, namespaces of its own. */
export function redisFactory(url: () => string, { spread = false } = {}): CoreFactory {
  let stores = 0
  const connect = async (store: number, limits: Partial<CoreLimits> | undefined): Promise<Core> => {
    const core = await connectRedisCore({
      url: url(),
      keyPrefix: `test-${store}`,
      limits: { ...CORE_LIMITS, ...limits },
    })
    return closeAfterTest(spread ? renamed(core, `-${store}`) : core)
  }
  return {
    openCore: (limits) => connect((stores += 1), limits),
    async openPair(limits) {
      const store = (stores += 1)
      return [await connect(store, limits), await connect(store, limits)]
    },
  }
}
