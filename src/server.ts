import { readFileSync } from 'node:fs'
import { ConfigError, issueText, parseSettings, type SettingName, type Settings } from './config.ts'
import type { Core, CoreLimits } from './core/core.ts'
import { createMemoryCore } from './core/memory/core.ts'
import { connectRedisCore } from './core/redis/core.ts'
import { RedisUrlError } from './core/redis/redis-url.ts'
import { timed } from './core/timed.ts'
import { createApp } from './http/app.ts'
import { Hub } from './hub/hub.ts'
import { Readings } from './hub/readings.ts'
import { createLog, type Log } from './observability/log.ts'
import { PrometheusMetrics } from './observability/prometheus.ts'
import { openTracing } from './observability/tracing.ts'

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
  /** Where clients connect: `ws://<host>:<port>/mesh`. */
  readonly url: string
  readonly httpUrl: string
  /** `memory`: everything is forgotten at the end. */
  readonly core: 'memory' | 'redis'
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

/** The file that a setting names, or undefined. @throws ConfigError */
function readSetting(settings: Settings, name: SettingName): string | undefined {
  const path = settings[name]
  if (path === undefined) return undefined
  try {
    return readFileSync(String(path), 'utf8')
  } catch (error) {
    throw new ConfigError(issueText(name, path, (error as Error).message))
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
 * @throws ConfigError for settings against a rule; MeshError `store_unavailable` where Redis does not answer; Error where
 * the port is taken
 */
export async function startHub(options: HubServerOptions = {}): Promise<HubServer> {
  const { core: sharedCore, logger, scrape, ...input } = options
  const settings = parseSettings(input)
  const log = logger ?? createLog(settings.logLevel)
  const core = sharedCore ?? (await openCore(settings, log))
  const metrics = settings.metrics === 'on' ? new PrometheusMetrics(() => readings.read()) : null
  const tracing = openTracing(VERSION)
  const hub = metrics
    ? new Hub({ core: timed(core, (...call) => metrics.stored(...call)), settings, log, metrics, tracing })
    : new Hub({ core, settings, log, tracing })
  const readings = new Readings(hub, VERSION)
  const app = createApp(hub, VERSION, metrics && (scrape ?? (() => metrics.scrape())))
  try {
    await hub.start()
    await app.listen({ host: settings.host, port: settings.port })
  } catch (error) {
    await hub.close()
    if (!sharedCore) await core.close()
    throw error
  }
  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : settings.port
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= (async () => {
      await hub.close()
      await app.close()
      if (!sharedCore) await core.close()
    })()
    return closing
  }
  return {
    id: hub.id,
    port,
    url: `ws://${host}:${port}/mesh`,
    httpUrl: `http://${host}:${port}`,
    core: core.kind,
    metrics: () => metrics?.scrape() ?? Promise.resolve(''),
    drain: () => hub.drain(),
    close,
    [Symbol.asyncDispose]: close,
  }
}
