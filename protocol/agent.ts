import { nestsWithin } from './codec.ts'
import { MeshError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { isWellFormed } from './text.ts'

export type AgentStatus = 'online' | 'degraded' | 'offline'
export type Transport = 'websocket' | 'http' | 'mxp'

/** What an agent says of itself when it registers (PROTOCOL.md section 2), with every default filled in. */
export interface Registration {
  readonly name: string
  readonly capabilities: readonly string[]
  readonly version: string | null
  readonly profiles: readonly string[]
  readonly groups: readonly string[]
  readonly address: string | null
  readonly metadata: Readonly<Record<string, string>>
  /** Work-queue messages it takes at once. */
  readonly concurrency: number
  readonly leaderEligible: boolean
  /** Unregistered as soon as its connection has been gone for the grace period. */
  readonly ephemeral: boolean
  readonly transport: Transport
}

/** A registered agent as everybody sees it. Times are ISO 8601 UTC. */
export interface AgentInfo {
  readonly id: string
  readonly name: string
  readonly capabilities: readonly string[]
  readonly version: string | null
  readonly profiles: readonly string[]
  readonly groups: readonly string[]
  readonly address: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly concurrency: number
  readonly status: AgentStatus
  readonly statusReason: string | null
  readonly connected: boolean
  readonly metrics: Readonly<Record<string, number>>
  readonly isLeader: boolean
  readonly transport: Transport
  /** The hub that has its connection, or had the last one. */
  readonly hub: string | null
  readonly registeredAt: string
  /** Current on the agent's own hub only. */
  readonly lastHeartbeat: string
  /** Of its latest change. */
  readonly revision: number
}

/** The fields of an agent that a client may give, in `hello` all of them, in `update` any. */
export interface AgentFields {
  readonly id?: string | null | undefined
  readonly name?: string | null | undefined
  readonly capabilities?: readonly string[] | null | undefined
  readonly version?: string | null | undefined
  readonly profiles?: readonly string[] | null | undefined
  readonly groups?: readonly string[] | null | undefined
  readonly address?: string | null | undefined
  readonly metadata?: Readonly<Record<string, string>> | null | undefined
  readonly concurrency?: number | null | undefined
  readonly leaderEligible?: boolean | null | undefined
  readonly ephemeral?: boolean | null | undefined
}

const ID = /^[A-Za-z0-9._:-]{1,128}$/
const NAME = /^[A-Za-z0-9_-]{3,64}$/
const CAPABILITY = /^[a-z0-9-]{2,32}$/
// The grammar of semver.org, version 2.0.0, without capture groups.
const SEMVER =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/

/** Levels of a value that are shown: JSON.stringify fails at values that JSON.parse could still read. */
const SHOWN_LEVELS = 8
const SHOWN_CHARS = 80

/** Whether an agent id is the own one of whoever has this subject: that, or that and `:` in front of anything. */
export const isOwnId = (subject: string, agentId: string): boolean =>
  agentId === subject || agentId.startsWith(`${subject}:`)

/** Text for an error message, cut where it is long. */
export const cut = (text: string, chars: number = SHOWN_CHARS): string =>
  text.length > chars ? `${text.slice(0, chars)}…` : text

/** Shows a value in an error message: as JSON, cut where it is long. */
export function show(value: unknown): string {
  if (!nestsWithin(value, SHOWN_LEVELS)) return `nested deeper than ${SHOWN_LEVELS} levels`
  return cut(beginning(value))
}

/** A value as JSON, of a long one no more than its beginning: at least what is shown of it. */
function beginning(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, SHOWN_CHARS + 1))
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? String(value)
  const isList = Array.isArray(value)
  let text = ''
  const add = (part: string): boolean => (text += (text === '' ? '' : ',') + part).length <= SHOWN_CHARS
  if (isList) value.every((item) => add(beginning(item)))
  else
    for (const key in value)
      if (!add(`${beginning(key)}:${beginning((value as Record<string, unknown>)[key])}`)) break
  return isList ? `[${text}]` : `{${text}}`
}

function checkText(field: string, text: string): void {
  if (isWellFormed(text)) return
  throw new MeshError(
    'invalid_agent',
    `${field} ${show(text)} must be well-formed Unicode: no half of a surrogate pair`,
  )
}

function checkList(field: string, items: readonly string[]): void {
  if (items.length > LIMITS.listMax) {
    throw new MeshError(
      'invalid_agent',
      `${field} has ${items.length} entries; at most ${LIMITS.listMax} are allowed`,
    )
  }
  for (const item of items) {
    checkText(`${field} entry`, item)
    if (item.length < 1 || item.length > LIMITS.listItemMaxChars) {
      throw new MeshError(
        'invalid_agent',
        `${field} entry ${show(item)} must have 1 to ${LIMITS.listItemMaxChars} characters`,
        {
          details: item,
        },
      )
    }
  }
}

function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  const keys = Object.keys(metadata)
  if (keys.length > LIMITS.metadataMaxKeys) {
    throw new MeshError(
      'invalid_agent',
      `metadata has ${keys.length} keys; at most ${LIMITS.metadataMaxKeys} are allowed`,
    )
  }
  if (Object.hasOwn(metadata, '__proto__')) {
    throw new MeshError('invalid_agent', 'metadata key "__proto__" is not allowed; choose another name')
  }
  for (const [key, value] of Object.entries(metadata)) {
    checkText('metadata key', key)
    checkText(`metadata value of ${show(key)}`, value)
  }
  const bytes = new TextEncoder().encode(JSON.stringify(metadata)).length
  if (bytes > LIMITS.metadataMaxBytes) {
    throw new MeshError(
      'invalid_agent',
      `metadata has ${bytes} bytes of JSON; at most ${LIMITS.metadataMaxBytes} are allowed`,
    )
  }
}

/**
 * Checks the rules of PROTOCOL.md section 2 for every field that is given (types are the codec's matter).
 * @throws MeshError `invalid_name`, `invalid_capability` or `invalid_agent`, naming value and rule
 */
export function checkAgentFields(agent: AgentFields): void {
  if (agent.id != null && !ID.test(agent.id)) {
    throw new MeshError(
      'invalid_agent',
      `agent id ${show(agent.id)} must be 1 to 128 of A-Z a-z 0-9 . _ : -`,
      { details: agent.id },
    )
  }
  if (agent.name != null && !NAME.test(agent.name)) {
    throw new MeshError('invalid_name', `agent name ${show(agent.name)} must be 3 to 64 of A-Z a-z 0-9 _ -`, {
      details: agent.name,
    })
  }
  if (agent.capabilities != null) {
    const { length } = agent.capabilities
    if (length < LIMITS.capabilitiesMin || length > LIMITS.capabilitiesMax) {
      throw new MeshError(
        'invalid_capability',
        `an agent needs ${LIMITS.capabilitiesMin} to ${LIMITS.capabilitiesMax} capabilities, not ${length}`,
      )
    }
    for (const capability of agent.capabilities) {
      if (!CAPABILITY.test(capability)) {
        throw new MeshError(
          'invalid_capability',
          `capability ${show(capability)} must be 2 to 32 of a-z 0-9 -`,
          { details: capability },
        )
      }
    }
  }
  if (
    agent.version != null &&
    agent.version !== '' &&
    (agent.version.length > LIMITS.stringChars || !SEMVER.test(agent.version))
  ) {
    throw new MeshError('invalid_agent', `version ${show(agent.version)} must be semver, like 1.2.0`, {
      details: agent.version,
    })
  }
  if (agent.profiles != null) checkList('profiles', agent.profiles)
  if (agent.groups != null) checkList('groups', agent.groups)
  if (agent.address != null && agent.address.length > LIMITS.stringChars) {
    throw new MeshError('invalid_agent', `address must have at most ${LIMITS.stringChars} characters`)
  }
  if (agent.address != null) checkText('address', agent.address)
  if (agent.metadata != null) checkMetadata(agent.metadata)
  if (agent.concurrency != null && (agent.concurrency < 1 || agent.concurrency > LIMITS.concurrencyMax)) {
    throw new MeshError(
      'invalid_agent',
      `concurrency ${agent.concurrency} must be 1 to ${LIMITS.concurrencyMax}`,
      {
        details: agent.concurrency,
      },
    )
  }
}

const distinct = (items: readonly string[] | null | undefined): readonly string[] => [...new Set(items ?? [])]

/**
 * The registration that a `hello` asks for, checked and with defaults: no lists, `concurrency` 1, eligible to lead unless
 * ephemeral.
 * @throws MeshError as {@link checkAgentFields}; a missing name is `invalid_name`, missing capabilities `invalid_capability`
 */
export function toRegistration(agent: AgentFields, transport: Transport): Registration {
  if (agent.name == null)
    throw new MeshError('invalid_name', 'agent.name is missing; give 3 to 64 of A-Z a-z 0-9 _ -')
  if (agent.capabilities == null) {
    throw new MeshError(
      'invalid_capability',
      'agent.capabilities is missing; give 1 to 20, each 2 to 32 of a-z 0-9 -',
    )
  }
  checkAgentFields(agent)
  const ephemeral = agent.ephemeral ?? false
  return {
    name: agent.name,
    capabilities: distinct(agent.capabilities),
    version: agent.version || null,
    profiles: distinct(agent.profiles),
    groups: distinct(agent.groups),
    address: agent.address || null,
    metadata: agent.metadata ?? {},
    concurrency: agent.concurrency ?? 1,
    leaderEligible: agent.leaderEligible ?? !ephemeral,
    ephemeral,
    transport,
  }
}

/** `registration` with each given field replaced; `null` and absent leave a field, `""`, `[]` and `{}` clear it. */
export function mergeRegistration(registration: Registration, fields: AgentFields): Registration {
  checkAgentFields(fields)
  return {
    ...registration,
    capabilities: fields.capabilities == null ? registration.capabilities : distinct(fields.capabilities),
    version: fields.version == null ? registration.version : fields.version || null,
    profiles: fields.profiles == null ? registration.profiles : distinct(fields.profiles),
    groups: fields.groups == null ? registration.groups : distinct(fields.groups),
    address: fields.address == null ? registration.address : fields.address || null,
    metadata: fields.metadata ?? registration.metadata,
    concurrency: fields.concurrency ?? registration.concurrency,
    leaderEligible: fields.leaderEligible ?? registration.leaderEligible,
  }
}
