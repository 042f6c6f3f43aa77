import { describe, expect, test } from 'vitest'
import { parseRedisUrl, type RedisTarget, RedisUrlError, targetText } from '../../src/core/redis/redis-url.ts'
import { ConfigError, startHub } from '../../src/server.ts'

const PLAIN: RedisTarget = {
  kind: 'server',
  addresses: [{ host: 'h', port: 6379 }],
  tls: false,
  username: null,
  password: null,
  db: 0,
  primaryName: null,
  sentinelUsername: null,
  sentinelPassword: null,
}
const SENTINELS: RedisTarget = {
  ...PLAIN,
  kind: 'sentinel',
  addresses: [
    { host: 'h1', port: 26379 },
    { host: 'h2', port: 26380 },
  ],
  primaryName: 'mymaster',
}

describe('REDIS_URL', () => {
  const forms: readonly [url: string, target: RedisTarget][] = [
    ['redis://h', PLAIN],
    ['redis://h:7000/3', { ...PLAIN, addresses: [{ host: 'h', port: 7000 }], db: 3 }],
    ['redis://h?db=3', { ...PLAIN, db: 3 }],
    ['redis://[::1]:7000', { ...PLAIN, addresses: [{ host: '::1', port: 7000 }] }],
    ['redis://:pass@h', { ...PLAIN, password: 'pass' }],
    ['redis://user:p%40ss:word@h', { ...PLAIN, username: 'user', password: 'p@ss:word' }],
    ['rediss://user:pass@h/1', { ...PLAIN, tls: true, username: 'user', password: 'pass', db: 1 }],
    ['redis-sentinel://h1,h2:26380/mymaster', SENTINELS],
    ['redis://h1:26379,h2:26380/mymaster', SENTINELS],
    ['rediss-sentinel://h1,h2:26380/mymaster', { ...SENTINELS, tls: true }],
    [
      'redis-sentinel://user:pass@h1,h2:26380/mymaster?db=2&sentinelPassword=word',
      { ...SENTINELS, username: 'user', password: 'pass', db: 2, sentinelPassword: 'word' },
    ],
    [
      'redis-cluster://h1:7000,h2:7001',
      {
        ...PLAIN,
        kind: 'cluster',
        addresses: [
          { host: 'h1', port: 7000 },
          { host: 'h2', port: 7001 },
        ],
      },
    ],
    ['rediss-cluster://:pass@h', { ...PLAIN, kind: 'cluster', tls: true, password: 'pass' }],
  ]
  test.each(forms)('%s is understood', (url, target) => {
    expect(parseRedisUrl(url)).toEqual(target)
  })

  const malformed: readonly [url: string, reason: RegExp][] = [
    ['http://h', /none of the forms/],
    ['redis://', /names no host/],
    ['redis://h:99999', /port that is not 1 to 65535/],
    ['redis://h1:1,:2/m', /":2" is not an address/],
    ['redis://h/mymaster', /"mymaster" is not the number of a database.*redis-sentinel/],
    ['redis://h1,h2', /what the Sentinels call the primary/],
    ['redis-sentinel://h1,h2', /what the Sentinels call the primary/],
    ['redis-cluster://h1,h2/3', /database 0 only/],
    ['redis://h?dbase=3', /parameter dbase; known here: db/],
    ['redis://u:%zz@h', /password is not percent-encoded/],
  ]
  test.each(malformed)('%s is refused', (url, reason) => {
    expect(() => parseRedisUrl(url)).toThrow(reason)
    expect(() => parseRedisUrl(url)).toThrow(RedisUrlError)
  })

  test('is told with flag, variable and reason, and without user and password', async () => {
    const start = startHub({ redisUrl: 'redis://me:secret@h/none', logLevel: 'silent' })
    await expect(start).rejects.toThrow(ConfigError)
    await expect(start).rejects.toThrow(
      /--redis-url \(REDIS_URL\) is "redis:\/\/…@h\/none": "none" is not the number/,
    )
  })

  test('is shown without user and password', () => {
    expect(targetText(parseRedisUrl('rediss://me:secret@h/1'))).toBe('Redis at h:6379/1 (TLS)')
    expect(targetText(parseRedisUrl('redis://me:secret@h1,h2/m'))).not.toContain('secret')
    expect(targetText(parseRedisUrl('redis-cluster://me:secret@h1,h2'))).not.toContain('secret')
  })
})
