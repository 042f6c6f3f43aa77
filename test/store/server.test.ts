import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { unfitness, UnfitServer } from '../../src/core/redis/server-checks.ts'
import { parseRedisUrl } from '../../src/core/redis/redis-url.ts'
import { type HubServer, startHub } from '../../src/server.ts'
import { closeAfterTest, CORE_LIMITS, join, NS, sendOf, store, toAgent } from '../support/core.ts'
import { freePort, type RedisFlags, type RedisServer, startRedis } from '../support/redis.ts'

const pem = (name: string): string => fileURLToPath(new URL(`../support/tls/${name}`, import.meta.url))
const read = (name: string): string => readFileSync(pem(name), 'utf8')

/** What docs/operations.md says that a hub needs. */
const RIGHTS =
  /`ACL SETUSER meshwire on >password ([^`]+)`/.exec(
    readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8'),
  )?.[1] ?? ''

async function serve(flags: RedisFlags): Promise<RedisServer> {
  const redis = await startRedis(flags)
  onTestFinished(() => redis.stop())
  return redis
}

async function tlsPort(): Promise<number> {
  const port = await freePort()
  await serve({
    'tls-port': port,
    'tls-cert-file': pem('server.crt'),
    'tls-key-file': pem('server.key'),
    'tls-ca-cert-file': pem('ca.crt'),
    user: `meshwire on >s3cret ${RIGHTS}`,
  })
  return port
}

const open = (url: string, tls = {}): ReturnType<typeof connectRedisCore> =>
  connectRedisCore({ url, tls, keyPrefix: 'mesh', limits: CORE_LIMITS })

describe('a Redis with TLS that asks for a certificate, a user and a password', () => {
  test('is the store of a hub that has them', async () => {
    const port = await tlsPort()
    const hub = await startHub({
      port: 0,
      logLevel: 'silent',
      redisUrl: `rediss://meshwire:s3cret@localhost:${port}/1`,
      redisCa: pem('ca.crt'),
      redisCert: pem('client.crt'),
      redisKey: pem('client.key'),
    })
    onTestFinished(() => hub.close())
    const tls = { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }
    const core = closeAfterTest(await open(`rediss://meshwire:s3cret@127.0.0.1:${port}/1`, tls))
    const { sender } = await join(core, 'alice')
    expect(await store(core, sendOf(sender, toAgent('alice'), 'm1'))).toMatchObject({ outcome: 'stored' })
    // In database 1, where this one is not.
    const other = closeAfterTest(await open(`rediss://meshwire:s3cret@127.0.0.1:${port}`, tls))
    expect((await other.registry.snapshot(NS)).agents).toEqual([])
  })

  test('is not trusted without its authority, and the error says why', async () => {
    const port = await tlsPort()
    await expect(open(`rediss://meshwire:s3cret@127.0.0.1:${port}`)).rejects.toThrow(
      /Redis at 127\.0\.0\.1:\d+ \(TLS\) does not let this hub in \(.*certificate/,
    )
  })

  test('does not let a hub with a wrong password in, and the error does not tell the password', async () => {
    const port = await tlsPort()
    const tls = { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') }
    const opening = open(`rediss://meshwire:guess@127.0.0.1:${port}`, tls)
    await expect(opening).rejects.toThrow(/WRONGPASS/)
    await expect(opening).rejects.not.toThrow(/guess/)
  })

  test('cannot be had with a file that is not there, and the error names the setting', async () => {
    const start = startHub({
      port: 0,
      logLevel: 'silent',
      redisUrl: 'rediss://127.0.0.1:1',
      redisCa: '/nowhere/ca.crt',
    })
    await expect(start).rejects.toThrow(/--redis-ca \(REDIS_CA\) is "\/nowhere\/ca.crt": ENOENT/)
  })
})

test('files for TLS with a Redis that is asked without it, or half of a certificate, are refused', async () => {
  const start = (settings: object): Promise<HubServer> =>
    startHub({ port: 0, logLevel: 'silent', ...settings })
  await expect(start({ redisUrl: 'redis://127.0.0.1:1', redisCa: pem('ca.crt') })).rejects.toThrow(
    /--redis-ca \(REDIS_CA\) is ".*": it is for TLS; let --redis-url \(REDIS_URL\) begin with rediss/,
  )
  await expect(start({ redisKey: pem('client.key') })).rejects.toThrow(/--redis-key .*it is for TLS/)
  await expect(start({ redisUrl: 'rediss://127.0.0.1:1', redisCert: pem('client.crt') })).rejects.toThrow(
    '--redis-cert (REDIS_CERT) and --redis-key (REDIS_KEY) go together',
  )
})

describe('a hub does not start', () => {
  const BIG = '100mb'
  test('where Redis may throw messages away, and says what mends it', async () => {
    const redis = await serve({ maxmemory: BIG, 'maxmemory-policy': 'allkeys-lru' })
    await expect(open(redis.url)).rejects.toThrow(UnfitServer)
    await expect(open(redis.url)).rejects.toThrow(
      /maxmemory-policy is allkeys-lru.*CONFIG SET maxmemory-policy noeviction/,
    )
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    await client.config('SET', 'maxmemory-policy', 'noeviction')
    closeAfterTest(await open(redis.url))
  })

  test('but does where no memory is limited, whatever the policy', async () => {
    const redis = await serve({ 'maxmemory-policy': 'allkeys-lru' })
    closeAfterTest(await open(redis.url))
  })

  test('as a user who may not hear the channels of the mesh', async () => {
    const redis = await serve({ user: `meshwire on >s3cret ${RIGHTS} resetchannels` })
    await expect(open(`redis://meshwire:s3cret@127.0.0.1:${redis.port}`)).rejects.toThrow(
      /does not let this hub in \(NOPERM .*channel/,
    )
  })

  test('on a replica', async () => {
    const primary = await serve({})
    const replica = await serve({ replicaof: `127.0.0.1 ${primary.port}` })
    await expect(open(replica.url)).rejects.toThrow(/is a replica, which takes no writes: name its primary/)
  })

  test('in a database that the server does not have', async () => {
    const redis = await serve({ databases: 4 })
    closeAfterTest(await open(`${redis.url}/3`))
    await expect(open(`${redis.url}/4`)).rejects.toThrow(
      /Redis at 127\.0\.0\.1:\d+\/4 does not let this hub in \(ERR DB index is out of range\)/,
    )
  })

  test('on a node of a Cluster that it takes for a server', async () => {
    const node = await serve({ 'cluster-enabled': 'yes', 'cluster-port': await freePort() })
    await expect(open(node.url)).rejects.toThrow(/is a node of a Cluster: write redis-cluster:\/\//)
  })

  test('on a server that it takes for a Cluster, or for Sentinels', async () => {
    const redis = await serve({})
    await expect(open(`redis-cluster://127.0.0.1:${redis.port}`)).rejects.toThrow(/cluster support disabled/)
    await expect(open(`redis-sentinel://127.0.0.1:${redis.port}/m`)).rejects.toThrow(
      /the Redis that the Sentinels at .* call m does not let this hub in/,
    )
    await expect(open(`redis-cluster://127.0.0.1:1,127.0.0.1:${redis.port}`)).rejects.toThrow(
      /connect ECONNREFUSED 127\.0\.0\.1:1; .*cluster support disabled/,
    )
  })

  test('on a version that is too old', () => {
    const why = (version: string, url = 'redis://h'): string | undefined =>
      unfitness(`redis_version:${version}\r\n`, parseRedisUrl(url), { host: 'n2', port: 7000 })?.message
    expect(why('6.2.7')).toMatch(/^Redis at h:6379 is version 6\.2\.7: Meshwire needs Redis 7/)
    expect(why('7.0.0')).toBeUndefined()
    expect(why('10.0.0')).toBeUndefined()
    // Which of the nodes it is.
    expect(why('6.2.7', 'redis-cluster://n1,n2')).toMatch(
      /^n2:7000 of the Redis Cluster at n1:6379, n2:6379 is/,
    )
  })
})
