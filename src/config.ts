import { isIP } from 'node:net'
import { z } from 'zod'

const flag = (min: number, max: number, preset: number, description: string) =>
  z.coerce.number().int().min(min).max(max).default(preset).describe(description)

const file = (description: string) => z.string().min(1).optional().describe(description)

const yes = (description: string) =>
  z
    .preprocess(
      // What a flag without a value, and a variable, say.
      (value) => (typeof value === 'string' ? (YES_OR_NO.get(value.toLowerCase()) ?? value) : value),
      z.boolean({ error: 'must be true or false' }).default(false),
    )
    .describe(description)

const YES_OR_NO: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['0', false],
])

/** Several, with commas between in flags and variables. */
const list = <Item extends z.ZodType<string>>(item: Item, description: string) =>
  z
    .preprocess(
      (value) =>
        typeof value === 'string'
          ? value
              .split(',')
              .map((one) => one.trim())
              .filter((one) => one !== '')
          : value,
      z.array(item).default([]),
    )
    .describe(description)

/** An address, or a network like 10.0.0.0/8. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

const DAY_MS = 86_400_000

const HOST_NAME = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)$/i

/** Every setting: flag `--grace-ms`, variable `MESHWIRE_GRACE_MS`, option `graceMs`. 0 switches a limit off. */
export const settingsSchema = z.object({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
  port: flag(0, 65_535, 7171, 'Port to listen on; 0 takes any free one.'),
  tlsCert: file(
    'PEM file of the certificate, with those between it and its authority, for TLS on the port; read again when it changes.',
  ),
  tlsKey: file('PEM file of the key to that certificate; read again when it changes.'),
  insecureOpen: yes(
    'Whether to listen beyond the loopback address without authentication, and to have the MXP registry over UDP, which has none, beyond it or beside authentication.',
  ),
  tokensFile: file('JSON file of the tokens that are let in, read again when it changes.'),
  jwtSecretFile: file('File of the secret that JSON Web Tokens are signed with (HS256).'),
  jwtKeyFile: file('File of the public key, or keys, of JSON Web Tokens: PEM, JWK or JWK set.'),
  jwksUrl: z
    .string()
    .regex(
      /^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/])/,
      'must start with https://, or with http:// and a loopback address',
    )
    .refine((url) => URL.canParse(url) && !/^[^/]*\/\/[^/]*@/.test(url), 'must be a URL without a user')
    .optional()
    .describe('Where the issuer of JSON Web Tokens publishes its keys, a JWK set.'),
  jwtIssuer: z.string().min(1).optional().describe('The iss that JSON Web Tokens must have.'),
  jwtAudience: z.string().min(1).optional().describe('The aud that JSON Web Tokens must have.'),
  jwtAlgorithms: list(
    z.enum(['HS256', 'RS256', 'ES256', 'EdDSA']),
    'What JSON Web Tokens may be signed with; none named: HS256 with a secret, else what the keys are for.',
  ),
  allowedHosts: list(
    z.string().regex(HOST_NAME, 'must be host names or addresses without port'),
    'Names by which this hub is reached, besides localhost, 127.0.0.1, [::1] and the host.',
  ),
  allowedOrigins: list(
    z.string().regex(/^[a-z][a-z0-9+.-]*:\/\/[^/?#@*\s]+$/i, 'must be origins like https://app.example'),
    'Web origins that may use this hub, CORS included, besides pages of the hub names themselves.',
  ),
  redisUrl: z
    .string()
    .regex(
      /^rediss?(-sentinel|-cluster)?:\/\//,
      'must start with redis://, redis-sentinel:// or redis-cluster://, or rediss… of each for TLS',
    )
    .optional()
    .describe(
      'Redis 7.0 or later that keeps the mesh, like redis://127.0.0.1:6379, or Sentinels or a Cluster that do; absent: everything stays in this process.',
    ),
  redisCa: file('PEM file of the authorities that may certify Redis; absent: those Node trusts.'),
  redisCert: file("PEM file of this hub's own certificate, for a Redis that asks for one."),
  redisKey: file('PEM file of the key to that certificate.'),
  workers: flag(
    1,
    256,
    1,
    'Hub processes on the one port, of `meshwire start`; more than 1 only with Redis.',
  ),
  keyPrefix: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 _ . -')
    .default('mesh')
    .describe('What every Redis key starts with: one mesh a prefix.'),
  logLevel: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
    .default('info')
    .describe('Least level that is logged.'),
  metrics: z
    .enum(['on', 'off'])
    .default('on')
    .describe('Whether the hub counts what it does and answers `GET /metrics`.'),
  heartbeatIntervalMs: flag(100, DAY_MS, 20_000, 'Milliseconds of silence after which the hub sends a ping.'),
  heartbeatTimeoutMs: flag(
    100,
    DAY_MS,
    10_000,
    'Milliseconds after the interval without a sign of life until a connection is dropped.',
  ),
  graceMs: flag(0, DAY_MS, 5_000, 'Milliseconds an agent whose connection was lost keeps its status.'),
  retentionMs: flag(0, 365 * DAY_MS, DAY_MS, 'Milliseconds an offline agent stays registered; 0: for ever.'),
  hubLeaseMs: flag(
    500,
    DAY_MS,
    15_000,
    'Milliseconds without a sign of life after which a hub counts as dead.',
  ),
  hubGraceMs: flag(
    0,
    DAY_MS,
    30_000,
    'Milliseconds the agents of a dead hub have to appear elsewhere before they are offline.',
  ),
  inboxMax: flag(0, 10_000_000, 10_000, 'Entries an inbox holds (replies are not counted); 0: no limit.'),
  namespaceAgentsMax: flag(
    0,
    10_000_000,
    100_000,
    'Agents registered in one namespace, those offline included; 0: no limit.',
  ),
  namespaceInboxBytesMax: flag(
    0,
    Number.MAX_SAFE_INTEGER,
    0,
    'Bytes of the messages in all inboxes of one namespace (replies are not counted); 0: no limit.',
  ),
  httpStaleMs: flag(
    100,
    DAY_MS,
    15_000,
    'Milliseconds without a heartbeat after which an agent that joined over HTTP is offline.',
  ),
  httpNamespace: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, 'must be 1 to 64 of a-z 0-9 -')
    .default('default')
    .describe('Namespace of the agents that join over HTTP.'),
  httpInboxMax: flag(
    0,
    10_000_000,
    1_000,
    'Entries an inbox of an agent without a connection (HTTP) holds, the oldest out; 0: no limit.',
  ),
  httpMessageTtlMs: flag(
    0,
    365 * DAY_MS,
    3_600_000,
    'Milliseconds an entry waits in such an inbox before it is dead-lettered; 0: for ever.',
  ),
  httpMessageKinds: flag(
    6,
    13,
    13,
    'Message types that members over HTTP know by name: 13, or the first 6 for spec-ai before 0.6.0, which gets the others as custom ones.',
  ),
  mxpUdpPort: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe(
      "UDP port of the registry for agents of the MXP SDK (MXP's own is 9000); 0 takes any free one; absent: there is none.",
    ),
  mxpUdpHost: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe(
      'Address that registry is at. It asks for no proof: let nobody reach it who may not speak for its agents.',
    ),
  mxpUdpRatePerSecond: flag(
    0,
    1_000_000,
    1_000,
    'Answers a second to one address, and twice as many at once; one of several KiB counts for as many; 0: no limit.',
  ),
  mxpStaleMs: flag(
    100,
    DAY_MS,
    30_000,
    'Milliseconds without a heartbeat after which an agent that registered over UDP is offline.',
  ),
  mxpNamespace: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, 'must be 1 to 64 of a-z 0-9 -')
    .default('default')
    .describe('Namespace of the agents that register over UDP, and of those at the gateway that name none.'),
  mxpRules: z
    .enum(['sdk', 'strict'])
    .default('sdk')
    .describe(
      'Names and capabilities that MXP agents may have: those the SDK allows, or only those of the original registry.',
    ),
  queueMax: flag(
    0,
    10_000_000,
    100_000,
    'Messages one work queue holds, those being worked on included; 0: no limit.',
  ),
  broadcastMax: flag(0, 10_000_000, 10_000, "Entries a namespace's broadcast log keeps; 0: no limit."),
  eventsMax: flag(
    0,
    10_000_000,
    10_000,
    'Registry events kept for subscriptions that continue; 0: no limit.',
  ),
  deadMax: flag(0, 10_000_000, 10_000, 'Dead letters a namespace keeps, the oldest out; 0: no limit.'),
  maxAttempts: flag(
    0,
    1_000_000,
    5,
    'Failed attempts (rejections, timeouts, workers lost) of a message before it is dead-lettered; 0: no limit.',
  ),
  ackTimeoutMs: flag(
    0,
    DAY_MS,
    60_000,
    'Milliseconds a worker may hold a work-queue message without acknowledging or progress; 0: for ever.',
  ),
  maxMessageBytes: flag(
    8_192,
    64 * 1_048_576,
    1_048_576,
    'Bytes of one WebSocket message; a payload may have 4 KiB less.',
  ),
  handshakesPerSecond: flag(
    0,
    1_000_000,
    500,
    'New connections a second; above it they wait in line for up to a second, or are answered 503 with Retry-After; 0: no limit.',
  ),
  addressHandshakesPerSecond: flag(
    0,
    1_000_000,
    250,
    "New connections a second from one address, ten seconds' worth at once; above it they are answered 429 with Retry-After; 0: no limit.",
  ),
  trustedProxies: list(
    z.string().refine(isNetwork, 'must be addresses, or networks like 10.0.0.0/8'),
    'Addresses and networks of proxies whose X-Forwarded-For is believed.',
  ),
  ratePerSecond: flag(
    0,
    10_000_000,
    1_000,
    'Frames a second of one connection, and HTTP requests of one address without a principal; acknowledgements and answers not counted; 0: no limit.',
  ),
  rateBurst: flag(1, 10_000_000, 2_000, 'Frames, or requests, at once above that rate.'),
  principalRatePerSecond: flag(
    0,
    10_000_000,
    1_000,
    'Frames and HTTP requests a second of all connections of one principal to this hub together, counted alike; 0: no limit.',
  ),
  principalRateBurst: flag(
    1,
    10_000_000,
    2_000,
    'Frames and requests of one principal at once above that rate.',
  ),
})

export type Settings = z.output<typeof settingsSchema>
export type SettingName = keyof Settings

export const SETTING_NAMES = Object.keys(settingsSchema.shape) as SettingName[]

/** Settings against a rule; the message has one line an issue. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** `graceMs` → `--grace-ms` */
export const flagOf = (name: SettingName): string => `--${kebab(name)}`

/** `graceMs` → `MESHWIRE_GRACE_MS`; `redisUrl` → `REDIS_URL` */
export const variableOf = (name: SettingName): string => {
  const variable = kebab(name).replaceAll('-', '_').toUpperCase()
  return name.startsWith('redis') ? variable : `MESHWIRE_${variable}`
}

/** A setting as an error shows it: without the password of a URL. */
const shown = (name: SettingName, value: unknown): string =>
  JSON.stringify(name === 'redisUrl' || name === 'jwksUrl' ? String(value).replace(/\/\/.*@/, '//…@') : value)

/** A setting as an error names it: `--grace-ms (MESHWIRE_GRACE_MS)`. */
export const bothNames = (name: SettingName): string => `${flagOf(name)} (${variableOf(name)})`

/** What is wrong with one setting, in all its spellings. */
export const issueText = (name: SettingName, value: unknown, issue: string): string =>
  `${bothNames(name)} is ${shown(name, value)}: ${issue}`

/** What the environment says; an empty variable counts as absent. The only reader of process.env. */
export function settingsFromEnvironment(
  env: NodeJS.ProcessEnv = process.env,
): Partial<Record<SettingName, string>> {
  const found: Partial<Record<SettingName, string>> = {}
  for (const name of SETTING_NAMES) {
    const value = env[variableOf(name)]
    if (value !== undefined && value !== '') found[name] = value
  }
  return found
}
