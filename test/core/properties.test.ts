import { afterAll, beforeAll, describe } from 'vitest'
import { memoryFactory, redisFactory } from '../support/core-factories.ts'
import type { CoreFactory } from '../support/core.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { broadcastsProperties } from './broadcasts.properties.ts'
import { inboxProperties } from './inbox.properties.ts'
import { producersProperties } from './producers.properties.ts'
import { queuesProperties } from './queues.properties.ts'
import { quotasProperties } from './quotas.properties.ts'
import { registryProperties } from './registry.properties.ts'

function coreProperties(factory: CoreFactory, numRuns: number): void {
  inboxProperties(factory, numRuns)
  broadcastsProperties(factory, numRuns)
  producersProperties(factory, numRuns)
  queuesProperties(factory, numRuns)
  registryProperties(factory, numRuns)
  quotasProperties(factory, numRuns)
}

describe('the core in memory', () => coreProperties(memoryFactory, 200))

describe('the core on Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  coreProperties(
    redisFactory(() => redis.url),
    80,
  )
})
