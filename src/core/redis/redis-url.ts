/** One place where a server listens. */
export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** Where the store is and how this hub is let in: REDIS_URL, taken apart. */
export interface RedisTarget {
  /** One server; the primary that Sentinels name; a Cluster. */
  readonly kind: 'server' | 'sentinel' | 'cluster'
  /** The server; the Sentinels; some of the Cluster's nodes. */
  readonly addresses: readonly RedisAddress[]
  /** Every connection is encrypted, those to Sentinels too. */
  readonly tls: boolean
  readonly username: string | null
  readonly password: string | null
  readonly db: number
  /** What the Sentinels call it. */
  readonly primaryName: string | null
  readonly sentinelUsername: string | null
  readonly sentinelPassword: string | null
}

/** A URL that names no store; the message says what is wrong with it, and no password. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError'
}

const FORMS =
  'redis://host:6379/0, rediss:// for TLS, redis-sentinel://host:26379,host:26379/name or redis-cluster://host:7000,host:7001'
const URL_PARTS =
  /^(redis|rediss)(?:-(sentinel|cluster))?:\/\/(?:(.*)@)?([^@/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/
const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/
const PORTS = { server: 6379, sentinel: 26379, cluster: 6379 } as const
const PARAMETERS = {
  server: ['db'],
  sentinel: ['db', 'sentinelUsername', 'sentinelPassword'],
  cluster: [],
} as const satisfies Record<RedisTarget['kind'], readonly string[]>

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RedisUrlError(`the ${what} is not percent-encoded: write % as %25`)
  }
}

function parseAddress(text: string, preset: number): RedisAddress {
  const [, host = '', port] = ADDRESS.exec(text) ?? []
  if (host === '') throw new RedisUrlError(`"${text}" is not an address: write host or host:port`)
  const number = port === undefined ? preset : Number(port)
  if (number < 1 || number > 65_535) throw new RedisUrlError(`${text} has a port that is not 1 to 65535`)
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: number }
}

function parseDb(text: string): number {
  if (!/^\d{1,4}$/.test(text)) {
    throw new RedisUrlError(
      `"${text}" is not the number of a database; the name of a primary needs redis-sentinel://`,
    )
  }
  return Number(text)
}

function parseParameters(text: string, kind: RedisTarget['kind']): URLSearchParams {
  const parameters = new URLSearchParams(text)
  const known: readonly string[] = PARAMETERS[kind]
  for (const name of parameters.keys()) {
    if (known.includes(name)) continue
    throw new RedisUrlError(`it has a parameter ${name}; known here: ${known.join(', ') || 'none'}`)
  }
  return parameters
}

/**
 * `redis://[user:password@]host[:port][/db]`; `rediss://` the same by TLS;
 * `redis-sentinel://[user:password@]host[:port],…/name[?db=0&sentinelUsername=…&sentinelPassword=…]`, also as `redis://` with
 * several hosts; `redis-cluster://[user:password@]host[:port],…`. `rediss-sentinel://` and `rediss-cluster://` use TLS.
 * What is special in a URL (`@ : / ? # %`) is percent-encoded in user and password.
 * @throws RedisUrlError
 */
export function parseRedisUrl(url: string): RedisTarget {
  const parts = URL_PARTS.exec(url)
  if (!parts) throw new RedisUrlError(`it has none of the forms ${FORMS}`)
  const [, scheme, form, login, hosts = '', path = '', query = ''] = parts
  const several = hosts.includes(',')
  const kind = form === 'cluster' ? 'cluster' : form === 'sentinel' || several ? 'sentinel' : 'server'
  if (hosts === '') throw new RedisUrlError(`it names no host; write ${FORMS}`)
  const addresses = hosts.split(',').map((host) => parseAddress(host.trim(), PORTS[kind]))
  const parameters = parseParameters(query, kind)
  const [user = '', ...password] = login?.split(':') ?? []
  const name = decode(path, 'name of the primary')
  if (kind === 'sentinel' && name === '')
    throw new RedisUrlError('it does not say what the Sentinels call the primary; end it with /name')
  if (kind === 'cluster' && path !== '' && path !== '0')
    throw new RedisUrlError('a Cluster has database 0 only; end it after the hosts')
  const db = kind === 'server' && path !== '' ? path : (parameters.get('db') ?? '0')
  return {
    kind,
    addresses,
    tls: scheme === 'rediss',
    username: user === '' ? null : decode(user, 'user'),
    password: password.length === 0 ? null : decode(password.join(':'), 'password'),
    db: parseDb(db),
    primaryName: kind === 'sentinel' ? name : null,
    sentinelUsername: parameters.get('sentinelUsername'),
    sentinelPassword: parameters.get('sentinelPassword'),
  }
}

export const addressText = ({ host, port }: RedisAddress): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** For people: what is meant, without user and password. */
export function targetText({ kind, addresses, tls, primaryName, db }: RedisTarget): string {
  const hosts = addresses.map(addressText).join(', ')
  const secure = tls ? ' (TLS)' : ''
  switch (kind) {
    case 'server':
      return `Redis at ${hosts}${db === 0 ? '' : `/${db}`}${secure}`
    case 'sentinel':
      return `the Redis that the Sentinels at ${hosts} call ${primaryName}${secure}`
    case 'cluster':
      return `the Redis Cluster at ${hosts}${secure}`
  }
}
