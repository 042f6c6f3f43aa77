import type { ReplicaAgent } from './replica-agent.ts'
import type { Replica } from './replica.ts'

/** For sorting: who was registered first comes first, as in an election. */
export const byAge = (
  { record: { state: a } }: ReplicaAgent,
  { record: { state: b } }: ReplicaAgent,
): number => a.registeredAt - b.registeredAt || a.order - b.order

/**
 * Who leads, for those who come in by a door and are promised that a mesh with members has a leader: for the moments in which an election waits for
 * agents that a store has lost, its outcome, as far as it can be known.
 */
export function leaderOf(replica: Replica): string | null {
  const { agentId } = replica.leader
  if (agentId !== null) return agentId
  let eldest: ReplicaAgent | null = null
  for (const agent of replica.all()) {
    const { registration, state } = agent.record
    if (!registration.leaderEligible || state.status !== 'online') continue
    if (eldest === null || byAge(agent, eldest) < 0) eldest = agent
  }
  return eldest?.record.id ?? null
}
