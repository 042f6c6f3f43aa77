import type { Leader } from '../../../protocol/commands.ts'
import type { Context } from '../dispatch.ts'

/** `leader`: who leads, and with which term, as of this hub's revision. */
export function leader({ connection, namespace }: Context, { ref }: Leader): void {
  connection.reply(ref, JSON.stringify({ leader: namespace.replica.leader }))
}
