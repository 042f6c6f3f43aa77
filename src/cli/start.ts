import { Command, Option } from 'commander'
import {
  flagOf,
  SETTING_NAMES,
  type SettingName,
  settingsFromEnvironment,
  settingsSchema,
  variableOf,
} from '../config.ts'
import { parseSettings } from '../parse-settings.ts'
import { type HubServer, startHub } from '../server.ts'
import { explain } from './explain.ts'
import { stopper } from './stop.ts'
import { ScrapedWorker } from './worker-metrics.ts'
import { isWorker, serveAsWorker, Workers } from './workers.ts'

/** `meshwire start`: one flag a setting; flags win over variables. */
export function startCommand(): Command {
  const command = new Command('start').description('Start a hub')
  for (const name of SETTING_NAMES) {
    command.addOption(
      new Option(
        `${flagOf(name)} ${name === 'insecureOpen' ? '[value]' : '<value>'}`,
        `${settingsSchema.shape[name].description} [${variableOf(name)}${presetOf(name)}]`,
      ),
    )
  }
  return command.action(async (flags: Record<string, string | true>) => {
    try {
      const settings = parseSettings({ ...settingsFromEnvironment(), ...flags })
      if (settings.workers > 1 && !isWorker()) {
        new Workers(settings).start()
        return
      }
      if (isWorker()) {
        const scraped = new ScrapedWorker()
        serveAsWorker(await startHub({ ...settings, scrape: () => scraped.scrape() }), scraped)
        return
      }
      const hub = await startHub(settings)
      // First the signals: whoever reads the line may send one at once.
      closeOnSignal(hub)
      process.stdout.write(`${startLine(hub)}\n`)
    } catch (error) {
      process.stderr.write(`${explain(error)}\n`)
      // A worker is held by its channel to the primary.
      if (isWorker()) process.exit(1)
      process.exitCode = 1
    }
  })
}

/** `, default 7171`, or nothing where there is none. */
function presetOf(name: SettingName): string {
  const preset = settingsSchema.shape[name].safeParse(undefined)
  const { data } = preset
  return data === undefined || data === false || (Array.isArray(data) && data.length === 0)
    ? ''
    : `, default ${String(data)}`
}

function startLine(hub: HubServer): string {
  const registry = hub.mxpUdpPort === null ? '' : `, MXP registry on UDP port ${hub.mxpUdpPort}`
  const where = `Meshwire hub ${hub.id} listens on ${hub.url}${registry}`
  return hub.core === 'redis'
    ? `${where} (core: Redis)`
    : `${where} (embedded core: it forgets everything when it stops; set REDIS_URL=redis://127.0.0.1:6379 to keep it)`
}

/** The first signal drains, a second one ends at once. */
function closeOnSignal(hub: HubServer): void {
  const stop = stopper(hub)
  let stopping = false
  const onSignal = (): void => {
    if (stopping) process.exit(1)
    stopping = true
    stop()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}
