import type { AgentFields } from '../../../protocol/agent.ts'
import type { Pong, Update } from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../dispatch.ts'
import type { Session } from '../session.ts'

type Change = AgentFields & Pick<Update, 'status' | 'statusReason'>

const FIELDS = [
  'capabilities',
  'version',
  'profiles',
  'groups',
  'address',
  'metadata',
  'concurrency',
  'leaderEligible',
] as const

/** `update`: replaces each field given; at most 5 a second, then the socket is read no faster. */
export async function update(context: Context, frame: Update): Promise<void> {
  const { connection, namespace, session } = context
  if (!session)
    throw new MeshError('forbidden', 'an observer connection has no agent to update; say hello with one')
  if (overUpdateRate(connection, frame)) return
  await changeAgent(context, session, frame)
  if (frame.metrics) namespace.onHeartbeat(session.agentId, frame.metrics)
  const agent = namespace.replica.get(session.agentId)
  connection.reply(frame.ref, `{"agent":${agent?.text ?? 'null'}}`)
}

/** Over 5 changes a second: the frame is worked on later, and the socket read no faster. */
export function overUpdateRate(connection: Connection, frame: Update | Pong): boolean {
  const waitMs = connection.updateRate.take(Date.now())
  if (waitMs === 0) return false
  connection.putBack({ ...frame })
  connection.holdFor('updates', waitMs)
  return true
}

/** Registers the change and waits until this hub sees it. @throws MeshError */
export async function changeAgent(
  { connection, namespace }: Context,
  session: Session,
  change: Change,
): Promise<void> {
  const agent = namespace.replica.get(session.agentId)
  if (!agent)
    throw new MeshError(
      'not_registered',
      `agent "${session.agentId}" is not registered any more; connect again`,
    )
  const fields = FIELDS.some((field) => change[field] != null)
  const result = await namespace.core.registry.update(namespace.name, {
    agentId: session.agentId,
    fence: session.sender.fence,
    registration: fields ? connection.dialect.merge(agent.record.registration, change) : null,
    status: change.status ?? null,
    statusReason: change.statusReason ?? null,
  })
  if (result.outcome === 'fenced') {
    void session.onFenced()
    throw new MeshError('agent_taken', 'another session has this agent; nothing was changed')
  }
  namespace.onEvents(result.events)
  await namespace.reached(result.events.at(-1)?.revision ?? 0)
}
