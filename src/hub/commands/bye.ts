import type { Bye } from '../../../protocol/commands.ts'
import type { Context } from '../dispatch.ts'

/** `bye`: leaves in order, after all that was sent before; unregistered, or with `keep` offline with its inbox. */
export async function bye({ connection, namespace }: Context, { ref, keep }: Bye): Promise<void> {
  const revision = await connection.bye(keep ? 'keep' : 'unregister')
  if (revision !== null) await namespace.reached(revision)
  connection.reply(ref, '{}')
  connection.close('normal')
}
