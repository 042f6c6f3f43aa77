import { parseArgs } from 'node:util'

/** The servers that are compared, in the order of the table's columns. */
export const CONTENDERS = ['relay', 'relay-redis', 'hub', 'hub-redis'] as const

/** What is measured of each of them. `queue` and `registry` apply to the hub alone. */
export const PARTS = ['direct', 'queue', 'broadcast', 'idle', 'registry'] as const

export type Contender = (typeof CONTENDERS)[number]
export type Part = (typeof PARTS)[number]

export interface Options {
  readonly contenders: readonly Contender[]
  readonly parts: readonly Part[]
  /** For how long each flow of messages is sent; it is measured until the last has completed. */
  readonly seconds: number
  readonly windows: readonly number[]
  /** Agents that send to each other. */
  readonly agents: number
  /** Agents that receive broadcasts. */
  readonly receivers: number
  /** Connections of the idle part. */
  readonly connections: number
  /** Agents of the registry part. */
  readonly registered: number
  readonly payloadBytes: number
  /** Whether each `send` carries a `seq`, as the bundled client's do. */
  readonly seq: boolean
  /** Where the figures are written as JSON, or null. */
  readonly json: string | null
  /** Where the servers write CPU profiles, or null. */
  readonly profile: string | null
}

const HELP = `npm run bench -- [options]

  --quick             seconds instead of minutes: shorter flows, fewer agents
  --seconds N         how long each flow is sent (default 3)
  --only LIST         any of ${CONTENDERS.join(', ')}, ${PARTS.join(', ')}
  --windows LIST      default 1,64,1024
  --no-seq            send without seq: the store remembers no producers
  --json FILE         write the figures there too
  --profile FOLDER    let each server under test write a CPU profile there
  --help`

const isContender = (word: string): word is Contender => CONTENDERS.some((contender) => contender === word)
const isPart = (word: string): word is Part => PARTS.some((part) => part === word)

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} ${text}: must be a number above 0`)
  return value
}

/**
 * The options of a command line; null where help was asked for and printed.
 * @throws Error that says what is wrong with it
 */
export function parseOptions(args: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      only: { type: 'string' },
      windows: { type: 'string', default: '1,64,1024' },
      'no-seq': { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(HELP)
    return null
  }
  const words = values.only?.split(',') ?? []
  const stranger = words.find((word) => !isContender(word) && !isPart(word))
  if (stranger !== undefined)
    throw new Error(`--only ${stranger}: choose from ${[...CONTENDERS, ...PARTS].join(', ')}`)
  const contenders = words.filter(isContender)
  const parts = words.filter(isPart)
  const windows = values.windows.split(',').map((text) => positive('windows', text))
  // A producer may have 1,024 unanswered sends: PROTOCOL.md section 4.
  if (windows.some((window) => !Number.isInteger(window) || window > 1024))
    throw new Error('--windows: integers up to 1024')
  return {
    contenders: contenders.length > 0 ? contenders : CONTENDERS,
    parts: parts.length > 0 ? parts : PARTS,
    seconds: positive('seconds', values.seconds ?? (values.quick ? '0.7' : '3')),
    windows,
    agents: values.quick ? 50 : 200,
    receivers: 1000,
    connections: values.quick ? 500 : 5000,
    registered: values.quick ? 1000 : 10_000,
    payloadBytes: 256,
    seq: !values['no-seq'],
    json: values.json ?? null,
    profile: values.profile ?? null,
  }
}
