import { type Registration, show, type Transport } from './agent.ts'
import { MeshError, type ErrorCode } from './errors.ts'
import { LIMITS } from './limits.ts'
import { isWellFormed } from './text.ts'

/** What an agent says of itself that comes in by another door than `hello`: HTTP or MXP. */
export interface ForeignAgent {
  readonly id: string
  /** Absent: the id. */
  readonly name?: string
  readonly capabilities: readonly string[]
  readonly profiles?: readonly string[]
  readonly version?: string | null
  readonly address?: string | null
  readonly metadata?: Readonly<Record<string, string>>
}

function check(code: ErrorCode, field: string, text: string): void {
  if (text.length >= 1 && text.length <= LIMITS.targetMaxChars && isWellFormed(text)) return
  throw new MeshError(
    code,
    `${field} ${show(text)} must be 1 to ${LIMITS.targetMaxChars} characters of well-formed Unicode`,
    { details: text },
  )
}

/**
 * The registration of an agent of another door (PROTOCOL.md section 2): id and name of any 1 to 256 characters, 0 to 20 free capabilities of as many.
 * @throws MeshError `invalid_agent`, `invalid_name` or `invalid_capability`, naming value and rule
 */
export function toForeignRegistration(agent: ForeignAgent, transport: Transport): Registration {
  const { id, name = id, capabilities, profiles = [], version = null, address = null, metadata = {} } = agent
  check('invalid_agent', 'agent id', id)
  check('invalid_name', 'agent name', name)
  if (capabilities.length > LIMITS.capabilitiesMax) {
    throw new MeshError(
      'invalid_capability',
      `an agent has at most ${LIMITS.capabilitiesMax} capabilities, not ${capabilities.length}`,
    )
  }
  for (const capability of capabilities) check('invalid_capability', 'capability', capability)
  if (profiles.length > LIMITS.foreignProfilesMax) {
    throw new MeshError(
      'invalid_agent',
      `an agent has at most ${LIMITS.foreignProfilesMax} profiles, not ${profiles.length}`,
    )
  }
  for (const profile of profiles) check('invalid_agent', 'profile', profile)
  return {
    name,
    capabilities: [...new Set(capabilities)],
    version,
    profiles: [...new Set(profiles)],
    groups: [],
    address,
    metadata,
    concurrency: 1,
    leaderEligible: true,
    ephemeral: false,
    transport,
  }
}
