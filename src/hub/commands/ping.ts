import type { Ping, Pong } from '../../../protocol/commands.ts'
import type { Context } from '../dispatch.ts'
import { changeAgent, overUpdateRate } from './update.ts'

/** `ping` of a client. */
export function ping({ connection }: Context, _frame: Ping): void {
  connection.push('{"type":"pong"}')
}

/** `pong`: the sign of life itself was noted when it was read; what it carries is registered as by `update`. */
export async function pong(context: Context, frame: Pong): Promise<void> {
  const { namespace, session } = context
  if (!session) return
  const current = namespace.replica.get(session.agentId)?.record.state
  const sameStatus = frame.status == null || frame.status === current?.status
  const sameReason = frame.statusReason == null || frame.statusReason === (current?.statusReason ?? '')
  const changes = !sameStatus || !sameReason
  if (changes && overUpdateRate(context.connection, frame)) return
  namespace.onHeartbeat(session.agentId, frame.metrics ?? null)
  if (!changes) return
  // A pong has no answer: what fails here shows in the next one.
  await changeAgent(context, session, { status: frame.status, statusReason: frame.statusReason }).catch(
    (error: unknown) => namespace.onStoreError(error),
  )
}
