import { afterAll, beforeAll, describe } from 'vitest'
import { redisFactory } from '../support/core-factories.ts'
import { startSentinels, type RedisWithSentinels } from '../support/redis-sentinel.ts'
import { coreSuites } from '../core/suites.ts'

let redis: RedisWithSentinels

beforeAll(async () => {
  redis = await startSentinels()
})
afterAll(() => redis.stop())

describe('the core on a Redis that Sentinels name', () => {
  coreSuites(redisFactory(() => redis.url))
})
