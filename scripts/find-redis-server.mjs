import { findProgram } from './find-program.mjs'

/**
 * The path of a redis-server: REDIS_SERVER, else the one on PATH, else a newly installed one.
 * @returns {string}
 * @throws {Error} with one line that says how to install it
 */
export function findRedisServer() {
  return findProgram({
    variable: 'REDIS_SERVER',
    names: ['redis-server'],
    debianPackage: 'redis-server',
    remedy:
      'redis-server 7.0 or newer is needed for the tests: install it (apt-get install redis-server, brew install redis) or set REDIS_SERVER to its path',
  })
}
