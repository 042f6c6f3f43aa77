import { byAge, leaderOf } from '../../hub/door-leader.ts'
import type { ReplicaAgent } from '../../hub/replica-agent.ts'
import type { Replica } from '../../hub/replica.ts'

/** An agent as spec-ai sees it. */
export interface MeshInstance {
  readonly instance_id: string
  readonly hostname: string
  readonly port: number
  readonly capabilities: readonly string[]
  readonly is_leader: boolean
  readonly last_heartbeat: string
  readonly created_at: string
  readonly agent_profiles: readonly string[]
}

/** `address` of an agent that says where it listens. */
export const toAddress = (hostname: string, port: number): string => `${hostname}:${port}`

/** Agents with a connection need not say where they listen, or say it otherwise: then there is no host, and port 0. */
function fromAddress(address: string | null): { hostname: string; port: number } {
  const [, hostname = '', digits = ''] = /^(.*):(\d{1,5})$/s.exec(address ?? '') ?? []
  const port = Number(digits)
  return port <= 65_535 ? { hostname, port } : { hostname: '', port: 0 }
}

function toInstance(agent: ReplicaAgent, leader: string | null): MeshInstance {
  const { id, registration, state } = agent.record
  return {
    instance_id: id,
    ...fromAddress(registration.address),
    capabilities: registration.capabilities,
    is_leader: id === leader,
    last_heartbeat: new Date(agent.lastHeartbeatAt).toISOString(),
    created_at: new Date(state.registeredAt).toISOString(),
    agent_profiles: registration.profiles,
  }
}

/** The mesh as a member sees it: who is not offline, the eldest first, and who leads them. */
export interface Mesh {
  readonly leader: string | null
  readonly instances: readonly MeshInstance[]
}

/** Who is not offline, the eldest first, and who leads them. Nobody does where nobody here may: tabs, tools, degraded agents, members without the permission. */
export function meshOf(replica: Replica): Mesh {
  const present = [...replica.all()].filter(({ record }) => record.state.status !== 'offline').toSorted(byAge)
  const leader = leaderOf(replica)
  return { leader, instances: present.map((agent) => toInstance(agent, leader)) }
}
