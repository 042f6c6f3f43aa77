import { parseSettings } from '../../src/parse-settings.ts'
import { connectRedisCore } from '../../src/core/redis/core.ts'
import { createApp } from '../../src/http/app.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { VERSION } from '../../src/server.ts'

/** What a hub of a storm is asked for, over IPC: when it accepted each handshake, in milliseconds of its own clock. */
export interface AcceptedReport {
  readonly accepted: readonly number[]
}

// A hub in a process of its own that notes each handshake. Its settings are its argument, as JSON.
const settings = parseSettings(JSON.parse(process.argv[2] ?? '{}') as object)
const core = await connectRedisCore({
  url: settings.redisUrl ?? '',
  keyPrefix: settings.keyPrefix,
  limits: settings,
})
const hub = new Hub({ core, settings, log: createLog('silent') })
const accepted: number[] = []
const accept = hub.accept.bind(hub)
hub.accept = (socket) => {
  accepted.push(performance.now())
  accept(socket)
}
const app = createApp(hub, VERSION)
await hub.start()
const address = await app.listen({ host: '127.0.0.1', port: settings.port })
process.on('disconnect', () => process.exit(0))
process.on('message', () => process.send?.({ accepted } satisfies AcceptedReport))
process.send?.({ url: `${address.replace('http', 'ws')}/mesh` })
