import { nanoid } from 'nanoid'
import { show } from '../../../protocol/agent.ts'
import type { Subscribe, Unsubscribe } from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Context } from '../dispatch.ts'
import { toFilter } from '../filter.ts'

/** `subscribe`: the list, then every change of it. */
export async function subscribe(
  { connection, namespace }: Context,
  { ref, events, where, since }: Subscribe,
): Promise<void> {
  if (connection.subscriptions.size + connection.subscribing >= LIMITS.subscriptionsMax) {
    throw new MeshError(
      'bad_frame',
      `this connection has ${LIMITS.subscriptionsMax} subscriptions; unsubscribe one first`,
    )
  }
  const request = {
    id: nanoid(10),
    events: events ?? (['agent.*', 'leader.changed'] as const),
    filter: toFilter(where, ['online', 'degraded', 'offline']),
  }
  connection.subscribing++
  const subscription = await namespace.watchers
    .open(request, since ?? null, connection, (fields) => connection.reply(ref, `{${fields}}`))
    .finally(() => connection.subscribing--)
  if (connection.state !== 'open') {
    namespace.watchers.close(subscription)
    return
  }
  connection.subscriptions.set(subscription.id, subscription)
  if (subscription.wants('agent.heartbeat')) namespace.wantHeartbeats()
}

export function unsubscribe({ connection, namespace }: Context, { ref, subscription }: Unsubscribe): void {
  const found = connection.subscriptions.get(subscription)
  if (!found) throw new MeshError('bad_frame', `this connection has no subscription ${show(subscription)}`)
  connection.subscriptions.delete(subscription)
  namespace.watchers.close(found)
  connection.reply(ref, '{}')
}
