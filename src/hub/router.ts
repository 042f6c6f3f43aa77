import { show } from '../../protocol/agent.ts'
import type { Send } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Via } from '../../protocol/message.ts'
import type { Lane } from '../core/inboxes.ts'
import type { Destination } from '../core/sends.ts'
import type { ReplicaAgent } from './replica-agent.ts'
import type { Replica } from './replica.ts'

/** Where a send goes, as the store takes it and as its frame says it. */
export interface Route {
  readonly to: Destination
  readonly via: Via
  /** The group or capability of a broadcast. */
  readonly value: string | null
}

const KINDS = ['agent', 'name', 'leader', 'capability', 'group', 'all'] as const

/** The one kind of target that a frame names. @throws MeshError `bad_frame` */
function kindOf(to: Send['to']): (typeof KINDS)[number] {
  const [kind, second] = KINDS.filter((one) => to[one] != null)
  if (!kind) throw new MeshError('bad_frame', `to is ${show(to)}; name one of ${KINDS.join(', ')}`)
  if (second) throw new MeshError('bad_frame', `to names both ${kind} and ${second}; name one`)
  if (to.mode != null && kind !== 'capability')
    throw new MeshError('bad_frame', `to.mode goes with capability, not with ${kind}`)
  return kind
}

/**
 * Target → recipients. Who has a name or leads is this hub's knowledge, which the store checks; who a broadcast is for the
 * store alone decides.
 * @throws MeshError `bad_frame`
 */
export function route({ to, messageType, echo, ifNone }: Send, replica: Replica): Route {
  // Who lives by heartbeats has one inbox for all, in order.
  const laneOf = (agentId: string): Lane =>
    messageType === 'response' && replica.get(agentId)?.record.state.door === undefined ? 'replies' : 'inbox'
  const kind = kindOf(to)
  switch (kind) {
    case 'agent':
      return direct({ kind: 'agent', agentId: to.agent ?? '', name: null, lane: laneOf(to.agent ?? '') })
    case 'name': {
      const name = to.name ?? ''
      const agentId = replica.idOf(name) ?? ''
      return direct({ kind: 'agent', agentId, name, lane: laneOf(agentId) })
    }
    case 'leader': {
      const agentId = replica.leader.agentId ?? ''
      return direct({ kind: 'leader', agentId, lane: laneOf(agentId) })
    }
    case 'capability':
      if (to.mode === 'all') return members('capability', to.capability ?? '', echo, 'capability')
      return {
        to: { kind: 'queue', capability: to.capability ?? '', ifNone: ifNone ?? 'keep' },
        via: 'queue',
        value: to.capability ?? '',
      }
    case 'group':
      return members('group', to.group ?? '', echo, 'group')
    case 'all':
      return { ...members('all', '', echo, 'broadcast'), value: null }
  }
}

const direct = (to: Destination): Route => ({ to, via: 'direct', value: null })

function members(
  of: 'all' | 'group' | 'capability',
  value: string,
  echo: boolean | null | undefined,
  via: Via,
): Route {
  return { to: { kind: 'members', of, value, echo: echo ?? false }, via, value }
}

/** The connected agents that a transient message goes to, by this hub's copy of the registry. */
export function connectedRecipients({ to }: Route, replica: Replica, from: string): string[] {
  let agents: Iterable<ReplicaAgent>
  switch (to.kind) {
    case 'agent':
    case 'leader':
      return replica.get(to.agentId)?.record.state.connected ? [to.agentId] : []
    case 'members':
      if (to.of === 'all') agents = replica.all()
      else agents = to.of === 'group' ? replica.inGroup(to.value) : replica.withCapability(to.value)
      return [...agents].flatMap(({ record: { id, state } }) =>
        state.connected && (to.echo || id !== from) ? id : [],
      )
    case 'queue': {
      const connected = [...replica.withCapability(to.capability)].filter(
        ({ record }) => record.state.connected,
      )
      const one = connected[Math.floor(Math.random() * connected.length)]
      return one ? [one.record.id] : []
    }
    case 'transient':
    case 'refused':
      return []
  }
}
