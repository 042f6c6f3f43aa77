import { checkAgentFields, type Registration } from '../../../protocol/agent.ts'
import { BadPayload, type JsonObject } from '../payload.ts'
import { type MxpRules, parseRegister, toMxpRegistration } from '../registration.ts'

/** Fields of a registration that MXP knows nothing of, named as in `hello`. */
const EXTRAS = {
  groups: 'an array of strings',
  profiles: 'an array of strings',
  concurrency: 'an integer',
  leaderEligible: 'true or false',
  ephemeral: 'true or false',
} as const

const isRight = (value: unknown, rule: (typeof EXTRAS)[keyof typeof EXTRAS]): boolean => {
  if (rule === 'an integer') return Number.isSafeInteger(value)
  if (rule === 'true or false') return typeof value === 'boolean'
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/** An AgentRegister at the gateway, where an address may be absent and everything of `hello` be said. */
export interface RegisterMessage {
  readonly id: string
  readonly registration: Registration
}

/** @throws BadPayload; RegistryError; MeshError `invalid_agent` */
export function parseRegisterMessage(payload: JsonObject, rules: MxpRules): RegisterMessage {
  const agent = parseRegister(payload, true)
  const extras: Record<string, unknown> = {}
  for (const [field, rule] of Object.entries(EXTRAS)) {
    const value = payload[field]
    if (value == null) continue
    if (!isRight(value, rule)) throw new BadPayload(`${field} must be ${rule}`)
    extras[field] = value
  }
  checkAgentFields(extras)
  return { id: agent.id, registration: { ...toMxpRegistration(agent, rules), ...extras } }
}
