import { Command, Option } from 'commander'
import { MeshError } from '../../protocol/errors.ts'
import {
  ConfigError,
  flagOf,
  parseSettings,
  SETTING_NAMES,
  type SettingName,
  settingsFromEnvironment,
  settingsSchema,
  variableOf,
} from '../config.ts'
import { type HubServer, startHub } from '../server.ts'

/** `meshwire start`: one flag a setting; flags win over variables. */
export function startCommand(): Command {
  const command = new Command('start').description('Start a hub')
  for (const name of SETTING_NAMES) {
    command.addOption(
      new Option(
        `${flagOf(name)} <value>`,
        `${settingsSchema.shape[name].description} [${variableOf(name)}${presetOf(name)}]`,
      ),
    )
  }
  return command.action(async (flags: Record<string, string>) => {
    try {
      const hub = await startHub(parseSettings({ ...settingsFromEnvironment(), ...flags }))
      // First the signals: whoever reads the line may send one at once.
      closeOnSignal(hub)
      process.stdout.write(`${startLine(hub)}\n`)
    } catch (error) {
      process.stderr.write(`${explain(error)}\n`)
      process.exitCode = 1
    }
  })
}

/** `, default 7171`, or nothing where there is none. */
function presetOf(name: SettingName): string {
  const preset = settingsSchema.shape[name].safeParse(undefined)
  return preset.success && preset.data !== undefined ? `, default ${preset.data}` : ''
}

function startLine(hub: HubServer): string {
  const where = `Meshwire hub ${hub.id} listens on ${hub.url}`
  return hub.core === 'redis'
    ? `${where} (core: Redis)`
    : `${where} (embedded core: it forgets everything when it stops; set REDIS_URL=redis://127.0.0.1:6379 to keep it)`
}

function explain(error: unknown): string {
  if (error instanceof ConfigError || error instanceof MeshError) return `meshwire: ${error.message}`
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE')
    return `meshwire: ${message}; choose another port with --port, or --port 0 for any free one`
  return `meshwire: ${message}`
}

/** From the first signal to the end of the process, whatever the store and the clients do. */
const STOP_MS = 45_000

/** The first signal drains, a second one ends at once. */
function closeOnSignal(hub: HubServer): void {
  let stopping = false
  const stop = (): void => {
    if (stopping) process.exit(1)
    stopping = true
    setTimeout(() => process.exit(1), STOP_MS)
    hub
      .drain()
      .then(() => hub.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`${explain(error)}\n`)
          process.exit(1)
        },
      )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
