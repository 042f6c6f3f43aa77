import { show } from '../../protocol/agent.ts'
import { MeshError } from '../../protocol/errors.ts'
import { mayEnter, owns, type Principal } from '../auth/principal.ts'
import type { Connection } from './connection.ts'
import { changeAgent } from './commands/update.ts'
import { demand, need, type Need, permits, registering, watching } from './needs.ts'

/** An observer is there to look: it must be permitted to watch or to discover. @throws MeshError `forbidden` */
export function demandLooking(principal: Principal, namespace: string): void {
  if (!permits(principal, need('watch', 'namespace', namespace)))
    demand(principal, [need('discover', 'namespace', namespace)])
}

/** @throws MeshError `forbidden` where the token is for other namespaces */
export function demandNamespace(principal: Principal, namespace: string): void {
  if (mayEnter(principal, namespace)) return
  throw new MeshError(
    'forbidden',
    `the token of ${show(principal.subject)} is not for the namespace ${show(namespace)}; it takes ${show(namespace)} among its namespaces (ns)`,
    { details: { namespace } },
  )
}

/** @throws MeshError `forbidden` where the id is another principal's */
export function demandOwn(principal: Principal, agentId: string): void {
  if (owns(principal, agentId)) return
  const subject = show(principal.subject)
  throw new MeshError(
    'forbidden',
    `agent id ${show(agentId)} is not for ${subject}; take ${subject} itself, or one that begins with ${show(`${principal.subject}:`)}`,
    { details: { agentId } },
  )
}

/** What a connection has and holds goes on only while its principal may have it. @throws MeshError `forbidden` */
function demandStanding(connection: Connection, principal: Principal): void {
  const { namespace, session } = connection
  if (!namespace) return
  demandNamespace(principal, namespace.name)
  const place = { namespace: namespace.name, agentId: session?.agentId ?? null }
  const needs: Need[] = []
  for (const subscription of connection.subscriptions.values())
    needs.push(
      ...watching(
        { events: subscription.wants('message.dead_lettered') ? ['message.dead_lettered'] : [] },
        place,
      ),
    )
  if (session) {
    const { registration } = namespace.replica.get(session.agentId)?.record ?? {}
    needs.push(...registering(session.agentId, registration?.capabilities ?? []))
  } else {
    demandLooking(principal, namespace.name)
  }
  demand(principal, needs)
}

/** A stream to an agent that may not be sent to any more ends, for both. */
function endStreams({ namespace, session }: Connection, principal: Principal): void {
  if (!namespace || !session) return
  for (const source of [...(namespace.streams.find(session)?.sources.values() ?? [])]) {
    try {
      demand(principal, [need('send', 'agent', source.to)])
    } catch (error) {
      if (!(error instanceof MeshError)) throw error
      source.refuse({ code: error.code, message: error.message })
    }
  }
}

/** Who may lead no more does not: nothing else of the registration changes. */
async function stepBack(connection: Connection, principal: Principal): Promise<void> {
  const { namespace, session } = connection
  if (!namespace || !session) return
  if (!namespace.replica.get(session.agentId)?.record.registration.leaderEligible) return
  if (permits(principal, need('lead', 'namespace', namespace.name))) return
  await changeAgent({ connection, namespace, session }, session, { leaderEligible: false })
}

/**
 * The connection goes on as this principal, and is closed 4403 where it has something that this one may not have: its agent, a capability, a
 * subscription. Of its streams those end that it could not open now. Never rejects.
 */
export async function adopt(connection: Connection, principal: Principal): Promise<void> {
  connection.principal = principal
  try {
    demandStanding(connection, principal)
  } catch (error) {
    if (!(error instanceof MeshError)) throw error
    connection.log.warn({ reason: error.message }, 'no longer permitted')
    connection.close('forbidden')
    return
  }
  try {
    endStreams(connection, principal)
    await stepBack(connection, principal)
  } catch (error) {
    connection.onFailure(error)
  }
}

/** After something that took its time: what was permitted when it began may not be any more. */
export async function recheck(connection: Connection, judged: Principal): Promise<void> {
  const { principal, state } = connection
  if (state === 'open' && principal !== null && principal !== judged) await adopt(connection, principal)
}
