import { isIP } from 'node:net'
import { checkAgentFields, type Registration, show } from '../../protocol/agent.ts'
import { toForeignRegistration } from '../../protocol/foreign-agent.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { BadPayload, type JsonObject, textOf } from './payload.ts'
import { RegistryError } from './registry-error.ts'

/** Which names and capabilities are taken: those that agents of the SDK may have, or only those of the original registry. */
export type MxpRules = 'sdk' | 'strict'

/** The agent of an AgentRegister payload. */
export interface RegisterPayload {
  readonly id: string
  readonly name: string
  readonly capabilities: readonly string[]
  /** An IP address and a port; null only where it may be absent. */
  readonly address: string | null
  readonly metadata: Readonly<Record<string, string>>
  /** The form that the SDK's examples send: `agent_id` and `endpoint`. Who sends it expects an Ack, and never beats. */
  readonly isExample: boolean
}

const RULES = {
  sdk: {
    // What Rust, too, takes for white space: other than `\s`.
    name: /\P{White_Space}/u,
    nameRule: `must not be blank, and have at most ${LIMITS.targetMaxChars} characters`,
    capability: /^[a-z0-9._-]{1,64}$/,
    capabilityRule: 'must be 1 to 64 of a-z 0-9 . _ -',
    least: 0,
  },
  strict: {
    name: /^[A-Za-z0-9_-]{3,64}$/,
    nameRule: 'must be 3 to 64 of A-Z a-z 0-9 _ -',
    capability: /^[a-z0-9-]{2,32}$/,
    capabilityRule: 'must be 2 to 32 of a-z 0-9 -',
    least: 1,
  },
} as const

const U16_MAX = 65_535
const U32_MAX = 4_294_967_295

function stringsOf(payload: JsonObject, field: string): string[] {
  const value = payload[field]
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value
  throw new BadPayload(value === undefined ? `${field} is missing` : `${field} must be an array of strings`)
}

function metadataOf({ metadata }: JsonObject): Record<string, string> {
  if (metadata == null) return {}
  if (typeof metadata !== 'object' || Array.isArray(metadata))
    throw new BadPayload('metadata must be an object of strings')
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string') throw new BadPayload(`metadata ${show(key)} must be a string`)
  return metadata as Record<string, string>
}

/** Whether the text is what Rust reads as a `SocketAddr`: `192.0.2.1:9` or `[2001:db8::1]:9`. */
export function isSocketAddress(text: string): boolean {
  const [, v6, v4, port = ''] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? []
  if (Number(port) > U16_MAX) return false
  if (v6 === undefined) return isIP(v4 ?? '') === 4
  // A zone is a number there, not the name of an interface.
  const [, zone = '0'] = v6.split('%')
  return isIP(v6) === 6 && /^\d+$/.test(zone) && Number(zone) <= U32_MAX
}

function addressOf(payload: JsonObject, field: string, optional: boolean): string | null {
  if (optional && payload[field] == null) return null
  const address = textOf(payload, field)
  if (isSocketAddress(address)) return address
  throw new BadPayload(`${field} ${show(address)} must be an IP address and a port, like 192.0.2.1:9000`)
}

/**
 * The agent that an AgentRegister payload tells of, in either dialect.
 * @param addressOptional who holds a connection need not say where else to find it
 * @throws BadPayload
 */
export function parseRegister(payload: JsonObject, addressOptional = false): RegisterPayload {
  const isExample = payload.id === undefined && payload.agent_id !== undefined
  return {
    id: textOf(payload, isExample ? 'agent_id' : 'id'),
    name: textOf(payload, 'name'),
    capabilities: stringsOf(payload, 'capabilities'),
    address: addressOf(payload, isExample ? 'endpoint' : 'address', addressOptional),
    metadata: metadataOf(payload),
    isExample,
  }
}

/**
 * The registration of an MXP agent.
 * @throws RegistryError where a name or a capability is against the rules; MeshError for other fields
 */
export function toMxpRegistration(agent: RegisterPayload, rules: MxpRules): Registration {
  const { id, name, capabilities, address, metadata } = agent
  const { name: nameRule, capability: capabilityRule, least, ...words } = RULES[rules]
  if (!nameRule.test(name) || name.length > LIMITS.targetMaxChars)
    throw new RegistryError('INVALID_AGENT_NAME', `Invalid agent name: ${show(name)} ${words.nameRule}`)
  const { capabilitiesMax } = LIMITS
  if (capabilities.length < least || capabilities.length > capabilitiesMax)
    throw new RegistryError(
      'INVALID_CAPABILITIES',
      `Invalid capabilities: there are ${capabilities.length}, and must be ${least} to ${capabilitiesMax}`,
    )
  for (const one of capabilities)
    if (!capabilityRule.test(one))
      throw new RegistryError(
        'INVALID_CAPABILITY',
        `Invalid capability: ${show(one)} ${words.capabilityRule}`,
      )
  checkAgentFields({ metadata })
  const registration = toForeignRegistration(
    { id, name, capabilities, address, metadata, version: semverOf(metadata.version) },
    'mxp',
  )
  // It hears of no election, so it is no leader unless it asks to be one.
  return { ...registration, leaderEligible: false }
}

/** The version as filters know it; any other stays in the metadata alone. */
function semverOf(version: string | undefined): string | null {
  if (version === undefined) return null
  try {
    checkAgentFields({ version })
    return version === '' ? null : version
  } catch {
    return null
  }
}
