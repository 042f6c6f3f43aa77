import { type RedisServer, startRedis } from './redis.ts'

// Started by the first test that needs it.
let server: Promise<RedisServer> | null = null

/** The redis-server of the test file that runs now; it ends with the file. */
export function redisOfFile(): Promise<RedisServer> {
  server ??= startRedis()
  return server
}

/** What each file ends with. */
export async function endRedisOfFile(): Promise<void> {
  const ending = server
  server = null
  await (await ending)?.stop()
}
