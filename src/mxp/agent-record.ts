import type { AgentInfo, AgentStatus } from '../../protocol/agent.ts'
import { isWellFormed } from '../../protocol/text.ts'
import { isSocketAddress } from './registration.ts'

/** An agent as MXP tells of it. Only `description` and `tags` may be absent. */
export interface AgentRecord {
  readonly id: string
  readonly name: string
  readonly version: string
  readonly description?: string
  readonly capabilities: readonly string[]
  readonly tags?: readonly string[]
  readonly address: string
  readonly status: 'Online' | 'Offline' | 'Degraded'
  readonly last_heartbeat: string
  readonly registered_at: string
}

const STATUS: { readonly [Status in AgentStatus]: AgentRecord['status'] } = {
  online: 'Online',
  offline: 'Offline',
  degraded: 'Degraded',
}

/** What stands where an agent names no address that MXP could read: it is reached through the mesh alone. */
const NO_ADDRESS = '0.0.0.0:0'
/** The version of an agent that names none. */
export const NO_VERSION = '0.0.0'

/** The SDK puts its tags into the metadata as a JSON array in a string. */
function tagsOf(text: string | undefined): string[] | null {
  if (text === undefined) return null
  try {
    const tags: unknown = JSON.parse(text)
    return Array.isArray(tags) && tags.every((tag) => typeof tag === 'string' && isWellFormed(tag))
      ? tags
      : null
  } catch {
    return null
  }
}

/** Half a surrogate pair is left out wherever it may be: parsers of other languages refuse it, and the whole answer with it. */
export function toAgentRecord(agent: AgentInfo): AgentRecord {
  const { address } = agent
  const metadata: Readonly<Record<string, string>> = Object.fromEntries(
    Object.entries(agent.metadata).filter(([, value]) => isWellFormed(value)),
  )
  const tags = tagsOf(metadata.tags)
  return {
    id: agent.id,
    name: agent.name,
    version: metadata.version ?? agent.version ?? NO_VERSION,
    ...(metadata.description === undefined ? {} : { description: metadata.description }),
    capabilities: agent.capabilities,
    ...(tags === null ? {} : { tags }),
    address: address !== null && isSocketAddress(address) ? address : NO_ADDRESS,
    status: STATUS[agent.status],
    last_heartbeat: agent.lastHeartbeat,
    registered_at: agent.registeredAt,
  }
}
