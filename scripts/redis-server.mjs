// Prints the path of a redis-server for the tests, installing one where it can.
import { printPath } from './find-program.mjs'
import { findRedisServer } from './find-redis-server.mjs'

printPath(findRedisServer)
