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

/** Cores on the redis-server at `url()`, each store with a key prefix of its own. */
export function redisFactory(url: () => string): CoreFactory {
  let stores = 0
  const connect = async (keyPrefix: string, limits: Partial<CoreLimits> | undefined): Promise<Core> =>
    closeAfterTest(await connectRedisCore({ url: url(), keyPrefix, limits: { ...CORE_LIMITS, ...limits } }))
  const nextPrefix = (): string => `test-${(stores += 1)}`
  return {
    openCore: (limits) => connect(nextPrefix(), limits),
    async openPair(limits) {
      const prefix = nextPrefix()
      return [await connect(prefix, limits), await connect(prefix, limits)]
    },
  }
}
