// Prints the path of a redis-server for the tests, installing one where it can.
import { findRedisServer } from './find-redis-server.mjs'

try {
  console.log(findRedisServer())
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
