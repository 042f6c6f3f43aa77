import type { AgentStatus, Registration } from '../../../protocol/agent.ts'
import type { AgentRecord, AgentState, Door, RegistryEvent, StoredEventKind } from '../registry.ts'

/** What lua/_registry.lua keeps of an agent's state (and what it alone looks at); numbers as text, since Lua's JSON rounds them. */
interface StateText {
  readonly status: AgentStatus
  readonly reason?: string
  readonly connected: boolean
  readonly hub?: string
  readonly door?: Door
  readonly owner?: string
  readonly registeredAt: string
  /** `registeredAt` in μs; absent of agents that hubs without it registered. */
  readonly since?: string
  readonly revision: string
}

export function parseState(text: string): AgentState {
  const state = JSON.parse(text) as StateText
  return {
    status: state.status,
    statusReason: state.reason ?? null,
    connected: state.connected,
    ...(state.door ? { door: state.door } : {}),
    ...(state.owner ? { owner: state.owner } : {}),
    hub: state.hub ?? null,
    registeredAt: Number(state.registeredAt),
    order: Number(state.since ?? state.registeredAt + '000'),
    revision: Number(state.revision),
  }
}

export function parseRecord(id: string, registration: string, state: string): AgentRecord {
  return { id, registration: JSON.parse(registration) as Registration, state: parseState(state) }
}

const parseString = (text: string | undefined): string | null => (text ? (JSON.parse(text) as string) : null)

/** An event as lua/_registry.lua wrote it: one line a field. */
export function parseEvent(text: string): RegistryEvent {
  const [revision = '', event = '', at = '', id, registration, state, old, status = '', leader, term = ''] =
    text.split('\n')
  const agentId = parseString(id)
  return {
    revision: Number(revision),
    event: event as StoredEventKind,
    at: Number(at),
    agentId,
    agent: agentId !== null && registration && state ? parseRecord(agentId, registration, state) : null,
    old: parseString(old),
    new: status || null,
    leader: parseString(leader),
    term: Number(term),
  }
}
