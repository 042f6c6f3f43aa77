import { ANYBODY } from '../../src/auth/principal.ts'
import type { Settings } from '../../src/config.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { type AppOptions, createApp } from '../../src/http/app.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { createMemoryCore, VERSION } from '../../src/server.ts'

type App = ReturnType<typeof createApp>

export interface AppFields extends AppOptions {
  readonly settings?: Partial<Settings>
  /** Whose the connections are, by the order they come in. */
  readonly principalOf?: (index: number) => string
  /** Further routes. */
  readonly extend?: (app: App) => void
}

/** A hub on a memory core whose parts a test can get at. */
export async function startApp(
  fields: AppFields = {},
): Promise<{ readonly url: string; readonly httpUrl: string; readonly port: number } & AsyncDisposable> {
  const { settings: given = {}, principalOf, extend, ...options } = fields
  const settings = parseSettings(given)
  const core = createMemoryCore({ limits: settings })
  const hub = new Hub({ core, settings, log: createLog('silent') })
  if (principalOf) {
    const accept = hub.accept.bind(hub)
    let accepted = 0
    hub.accept = (socket, said) => {
      const subject = principalOf(accepted++)
      accept(socket, { ...said, principal: { ...ANYBODY, subject } })
    }
  }
  const app = createApp(hub, VERSION, options)
  extend?.(app)
  await hub.start()
  const httpUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    httpUrl,
    url: `${httpUrl.replace('http', 'ws')}/mesh`,
    port: Number(new URL(httpUrl).port),
    async [Symbol.asyncDispose]() {
      await hub.close()
      await app.close()
      await core.close()
    },
  }
}
