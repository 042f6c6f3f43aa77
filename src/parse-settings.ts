import { isIP } from 'node:net'
import {
  bothNames,
  ConfigError,
  flagOf,
  issueText,
  type SettingName,
  type Settings,
  settingsSchema,
} from './config.ts'

const KEY_SOURCES = ['jwtSecretFile', 'jwtKeyFile', 'jwksUrl'] as const

/** Whether whoever comes has to show a token. */
const isAuthenticated = (settings: Settings): boolean =>
  settings.tokensFile !== undefined || KEY_SOURCES.some((name) => settings[name] !== undefined)

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

const REDIS_FILES = ['redisCa', 'redisCert', 'redisKey'] as const

/** Where settings would let in other people than was meant. */
function accessConflictsOf(settings: Settings): string[] {
  const { host, insecureOpen, jwtAlgorithms, mxpUdpPort, mxpUdpHost } = settings
  const conflicts: string[] = []
  const sources = KEY_SOURCES.filter((name) => settings[name] !== undefined)
  if (!isAuthenticated(settings) && !isLoopback(host) && !insecureOpen)
    conflicts.push(
      issueText(
        'host',
        host,
        `without authentication whoever reaches this port may read and send everything; set ${bothNames('tokensFile')} or one of ${KEY_SOURCES.map(flagOf).join(', ')}, or say ${flagOf('insecureOpen')}`,
      ),
    )
  const hasUdp = mxpUdpPort !== undefined
  if (hasUdp && !insecureOpen && isAuthenticated(settings))
    conflicts.push(
      issueText(
        'mxpUdpPort',
        mxpUdpPort,
        `the MXP registry over UDP asks for no proof, so it does not go with authentication; leave it out, or say ${bothNames('insecureOpen')} as well: then whoever reaches that port may register, find and unregister there`,
      ),
    )
  if (hasUdp && !insecureOpen && !isAuthenticated(settings) && !isLoopback(mxpUdpHost))
    conflicts.push(
      issueText(
        'mxpUdpHost',
        mxpUdpHost,
        `the MXP registry over UDP asks for no proof: whoever reaches it may register, find and unregister there; leave it on a loopback address, or say ${bothNames('insecureOpen')}`,
      ),
    )
  if (insecureOpen && isAuthenticated(settings) && !hasUdp)
    conflicts.push(`${bothNames('insecureOpen')} does not go with authentication; leave one of them out`)
  if (sources.length > 1)
    conflicts.push(`${sources.map(bothNames).join(' and ')} do not go together; set one of them`)
  for (const name of ['jwtIssuer', 'jwtAudience', 'jwtAlgorithms'] as const)
    if (settings[name] !== undefined && settings[name].length > 0 && sources.length === 0)
      conflicts.push(
        issueText(
          name,
          settings[name],
          `there is no key to verify with; set one of ${KEY_SOURCES.map(flagOf).join(', ')}`,
        ),
      )
  for (const algorithm of sources.length === 1 ? jwtAlgorithms : [])
    if ((algorithm === 'HS256') !== (sources[0] === 'jwtSecretFile'))
      conflicts.push(
        issueText(
          'jwtAlgorithms',
          jwtAlgorithms,
          `${algorithm} does not go with ${bothNames(sources[0] as SettingName)}`,
        ),
      )
  return conflicts
}

/** Settings that are right by themselves, and would have no effect or a wrong one beside the others. */
function conflictsOf(settings: Settings): string[] {
  const { workers, redisUrl, redisCert, redisKey } = settings
  const conflicts = accessConflictsOf(settings)
  if (workers > 1 && redisUrl === undefined)
    conflicts.push(
      `${bothNames('workers')} is ${workers}: several hubs are one mesh only on a Redis that they share; set ${bothNames('redisUrl')}`,
    )
  for (const name of REDIS_FILES)
    if (settings[name] !== undefined && !redisUrl?.startsWith('rediss'))
      conflicts.push(
        issueText(name, settings[name], `it is for TLS; let ${bothNames('redisUrl')} begin with rediss`),
      )
  if ((redisCert === undefined) !== (redisKey === undefined))
    conflicts.push(`${bothNames('redisCert')} and ${bothNames('redisKey')} go together; set both, or neither`)
  if ((settings.tlsCert === undefined) !== (settings.tlsKey === undefined))
    conflicts.push(`${bothNames('tlsCert')} and ${bothNames('tlsKey')} go together; set both, or neither`)
  return conflicts
}

/**
 * Checks settings and fills in defaults.
 * @throws ConfigError naming every setting that is wrong, in all its spellings
 */
export function parseSettings(input: Partial<Record<SettingName, unknown>>): Settings {
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
  const result = settingsSchema.safeParse(given)
  if (result.success) {
    const conflicts = conflictsOf(result.data)
    if (conflicts.length === 0) return result.data
    throw new ConfigError(conflicts.join('\n'))
  }
  const lines = result.error.issues.map((issue) => {
    const name = String(issue.path[0]) as SettingName
    return issueText(name, given[name], issue.message)
  })
  throw new ConfigError(lines.join('\n'))
}
