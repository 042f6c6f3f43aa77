import { readFileSync } from 'node:fs'
import type { Server as TlsServer } from 'node:tls'
import { openAuthenticator } from './authentication.ts'
import { ConfigError, flagOf, issueText, type Settings } from './config.ts'
import type { Core, CoreLimits } from './core/core.ts'
import { createMemoryCore } from './core/memory/core.ts'
import { connectRedisCore } from './core/redis/core.ts'
import { RedisUrlError } from './core/redis/redis-url.ts'
import { timed } from './core/timed.ts'
import { createApp } from './http/app.ts'
import { type Pair, type PairFiles, readPair, TlsFiles } from './http/tls-files.ts'
import { Hub } from './hub/hub.ts'
import { Readings } from './hub/readings.ts'
import type { UdpDoor } from './mxp/doors.ts'
import { createLog, type Log } from './observability/log.ts'
import { PrometheusMetrics } from './observability/prometheus.ts'
import { openTracing } from './observability/tracing.ts'
import { parseSettings } from './parse-settings.ts'
import { readSetting } from './setting-file.ts'

export { ConfigError, type Settings } from './config.ts'
export { type Core, type CoreLimits } from './core/core.ts'
export { createMemoryCore } from './core/memory/core.ts'

/** Settings as in docs/configuration.md, each with its default; nothing is read from the environment. */
export type HubServerOptions = Partial<Settings> & {
  /** A core that several hubs of one process share; the caller closes it. Absent: one of its own. */
  readonly core?: Core
  /** A pino logger. Absent: JSON lines on standard error from `logLevel` up. */
  readonly logger?: Log
  /** What `GET /metrics` answers. Absent: `metrics` of this hub. */
  readonly scrape?: () => Promise<string>
}

/** A running hub. */
export interface HubServer {
  readonly id: string
  readonly port: number
  /** Where clients connect: `ws://<host>:<port>/mesh`, with TLS `wss:`. */
  readonly url: string
  readonly httpUrl: string
  /** `memory`: everything is forgotten at the end. */
  readonly core: 'memory' | 'redis'
  /** Where the MXP registry is; null: there is none. */
  readonly mxpUdpPort: number | null
  /** Its metrics as text, as Prometheus reads it; empty where they are switched off. See docs/metrics.md. */
  metrics(): Promise<string>
  /** Asks clients to leave and waits until they have, at most about 30 s; `close` afterwards. */
  drain(): Promise<void>
  /** Closes every connection (4001) and the port. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export const VERSION = packageVersion()

function packageVersion(): string {
  // From src/ or dist/src/ up to the package.
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return 'unknown'
}

/** Where certificate and key of the port are, or null: plain HTTP. */
function tlsFilesOf({ tlsCert, tlsKey }: Settings): PairFiles | null {
  return tlsCert === undefined || tlsKey === undefined ? null : { cert: tlsCert, key: tlsKey }
}

/** @throws ConfigError */
function readTls(settings: Settings, files: PairFiles): Pair {
  readSetting(settings, 'tlsCert')
  readSetting(settings, 'tlsKey')
  try {
    return readPair(files)
  } catch (error) {
    throw new ConfigError(
      issueText(
        'tlsCert',
        files.cert,
        `together with ${flagOf('tlsKey')} ${JSON.stringify(files.key)} it cannot be used: ${(error as Error).message}`,
      ),
    )
  }
}

async function openCore(settings: Settings, log: Log): Promise<Core> {
  const limits: CoreLimits = settings
  if (settings.redisUrl === undefined) return createMemoryCore({ limits })
  const tls = {
    ca: readSetting(settings, 'redisCa'),
    cert: readSetting(settings, 'redisCert'),
    key: readSetting(settings, 'redisKey'),
  }
  let down = false
  try {
    return await connectRedisCore({
      url: settings.redisUrl,
      tls,
      keyPrefix: settings.keyPrefix,
      limits,
      onError: (error) => {
        if (error && !down) log.error({ err: error }, 'store connection failed')
        if (!error && down) log.info({}, 'store connection is back')
        down = error !== null
      },
    })
  } catch (error) {
    if (!(error instanceof RedisUrlError)) throw error
    throw new ConfigError(issueText('redisUrl', settings.redisUrl, error.message))
  }
}

/**
 * Starts a hub: core, port, routes.
 * @throws ConfigError for settings against a rule, and where the port of the MXP registry cannot be had; MeshError `store_unavailable` where Redis does not answer; Error where
 * the port is taken
 */
export async function startHub(options: HubServerOptions = {}): Promise<HubServer> {
  const { core: sharedCore, logger, scrape, ...input } = options
  const settings = parseSettings(input)
  const log = logger ?? createLog(settings.logLevel)
  const tlsFiles = tlsFilesOf(settings)
  const pair = tlsFiles ? readTls(settings, tlsFiles) : null
  // Not above: it compiles the checksum while it loads, and a module that waits while it loads cannot be had by `require`.
  const { MXP_SUBPROTOCOL, speakMxp, UdpDoor } = await import('./mxp/doors.ts')
  // First: what is wrong there must be known before anything is opened.
  const authenticator = await openAuthenticator(settings, log)
  const core =
    sharedCore ??
    (await openCore(settings, log).catch((error: unknown) => {
      authenticator.close()
      throw error
    }))
  const metrics = settings.metrics === 'on' ? new PrometheusMetrics(() => readings.read()) : null
  const tracing = openTracing(VERSION)
  const hub = metrics
    ? new Hub({
        core: timed(core, (...call) => metrics.stored(...call)),
        settings,
        log,
        authenticator,
        metrics,
        tracing,
      })
    : new Hub({ core, settings, log, authenticator, tracing })
  const readings = new Readings(hub, VERSION)
  const app = createApp(hub, VERSION, {
    dialects: new Map([[MXP_SUBPROTOCOL, speakMxp]]),
    scrape: metrics && (scrape ?? (() => metrics.scrape())),
    ...(pair ? { pair } : {}),
  })
  const { mxpUdpPort, mxpUdpHost } = settings
  let udp: UdpDoor | null = null
  try {
    await hub.start()
    if (mxpUdpPort !== undefined)
      udp = await UdpDoor.open(hub, mxpUdpHost, mxpUdpPort).catch((error: Error) => {
        throw new ConfigError(issueText('mxpUdpPort', mxpUdpPort, error.message))
      })
    await app.listen({ host: settings.host, port: settings.port })
  } catch (error) {
    await udp?.close()
    await hub.close()
    authenticator.close()
    if (!sharedCore) await core.close()
    throw error
  }
  const tls =
    tlsFiles && pair ? new TlsFiles(tlsFiles, pair, app.server as unknown as TlsServer, hub.log) : null
  const s = tls ? 's' : ''
  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : settings.port
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= (async () => {
      tls?.close()
      await udp?.close()
      await hub.close()
      await app.close()
      authenticator.close()
      if (!sharedCore) await core.close()
    })()
    return closing
  }
  return {
    id: hub.id,
    port,
    url: `ws${s}://${host}:${port}/mesh`,
    httpUrl: `http${s}://${host}:${port}`,
    core: core.kind,
    mxpUdpPort: udp?.port ?? null,
    metrics: () => metrics?.scrape() ?? Promise.resolve(''),
    drain: () => hub.drain(),
    close,
    [Symbol.asyncDispose]: close,
  }
}
