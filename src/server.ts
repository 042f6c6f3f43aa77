import { readFileSync } from 'node:fs'
import { openAuthenticator } from './authentication.ts'
import { ConfigError, issueText, parseSettings, type Settings } from './config.ts'
import type { Core, CoreLimits } from './core/core.ts'
import { createMemoryCore } from './core/memory/core.ts'
import { connectRedisCore } from './core/redis/core.ts'
import { RedisUrlError } from './core/redis/redis-url.ts'
import { createApp } from './http/app.ts'
import { Hub } from './hub/hub.ts'
import { createLog, type Log } from './observability/log.ts'
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
  const { core: sharedCore, logger, ...input } = options
  const settings = parseSettings(input)
  const log = logger ?? createLog(settings.logLevel)
  // First: what is wrong there must be known before anything is opened.
  const authenticator = await openAuthenticator(settings, log)
  const core =
    sharedCore ??
    (await openCore(settings, log).catch((error: unknown) => {
      authenticator.close()
      throw error
    }))
  const hub = new Hub({ core, settings, log, authenticator })
  const app = createApp(hub, VERSION)
  try {
    await hub.start()
    await app.listen({ host: settings.host, port: settings.port })
  } catch (error) {
    await hub.close()
    authenticator.close()
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
      authenticator.close()
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
    drain: () => hub.drain(),
    close,
    [Symbol.asyncDispose]: close,
  }
}
