import type { Log } from '../../src/observability/log.ts'
import { type HubServer, type Settings, startHub } from '../../src/server.ts'

/** A hub without limits of rates, and what it told as its own fault. */
export interface WatchedHub {
  readonly hub: HubServer
  /** Whatever it logged as an error: nothing that comes from outside may be one. */
  readonly faults: readonly unknown[]
}

export async function startWatched(settings: Partial<Settings> = {}): Promise<WatchedHub> {
  const faults: unknown[] = []
  const nothing = (): void => undefined
  const logger: Log = {
    error: (...told: unknown[]) => void faults.push(told),
    warn: nothing,
    info: nothing,
    debug: nothing,
    child: () => logger,
  }
  const unlimited = { ratePerSecond: 0, handshakesPerSecond: 0, mxpUdpRatePerSecond: 0 }
  const hub = await startHub({ port: 0, mxpUdpPort: 0, ...unlimited, ...settings, logger })
  return { hub, faults }
}
