import { show } from '../../../protocol/agent.ts'
import type { Auth } from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import type { AuthResult } from '../../../protocol/replies.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../dispatch.ts'
import { adopt } from '../standing.ts'

/** When a connection's token ends, as clients are told. */
export const expiryText = ({ expiresAt }: Connection): string | null =>
  expiresAt === null ? null : new Date(expiresAt).toISOString()

/**
 * `auth`: a new token of the same subject for a connection that stays; what is refused leaves the old one in force.
 * @throws MeshError
 */
export async function auth({ connection }: Context, { ref, token }: Auth): Promise<void> {
  const { authenticator } = connection.hub
  // The one that was sent last must count, whichever is judged first.
  if (connection.authenticating)
    throw new MeshError(
      'bad_frame',
      'another token of this connection is being looked at; wait for its answer',
    )
  connection.authenticating = true
  try {
    const principal = await authenticator.authenticate(token)
    const subject = connection.principal?.subject ?? null
    if (principal.subject !== subject)
      throw new MeshError(
        'forbidden',
        `the token is of ${show(principal.subject)}, this connection of ${show(subject)}; connect anew as another one`,
      )
    if (connection.state !== 'open') return
    await adopt(connection, principal)
  } finally {
    connection.authenticating = false
  }
  const result: AuthResult = { expiresAt: expiryText(connection) }
  connection.reply(ref, JSON.stringify(result))
}
