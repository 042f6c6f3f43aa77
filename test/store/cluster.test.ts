import { afterAll, beforeAll, describe } from 'vitest'
import { redisFactory } from '../support/core-factories.ts'
import { startCluster, type RedisCluster } from '../support/redis-cluster.ts'
import { coreSuites } from '../core/suites.ts'

let cluster: RedisCluster

beforeAll(async () => {
  cluster = await startCluster()
})
afterAll(() => cluster.stop())

describe('the core on a Redis Cluster', () => {
  coreSuites(redisFactory(() => cluster.url, { spread: true }))
})
