import type { Discover } from '../../../protocol/commands.ts'
import { agentPage } from '../agent-pages.ts'
import type { Context } from '../dispatch.ts'
import { toFilter } from '../filter.ts'

/** `discover`: from this hub's copy of the registry, also while the store is down. */
export function discover({ connection, namespace }: Context, { ref, where, limit, cursor }: Discover): void {
  const page = agentPage(namespace.replica, toFilter(where, ['online']), cursor, limit)
  const texts = page.agents.map((agent) => agent.text)
  connection.reply(ref, `{"agents":[${texts.join(',')}],"cursor":${JSON.stringify(page.cursor)}}`)
}
