import { show } from '../../../protocol/agent.ts'
import type { Discover } from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Context } from '../dispatch.ts'
import { toFilter } from '../filter.ts'

interface Place {
  readonly name: string
  readonly id: string
}

/** A cursor is the place of the last agent of a page; opaque to clients. */
const toCursor = ({ name, id }: Place): string =>
  Buffer.from(`${name.length}:${name}${id}`).toString('base64url')

function parseCursor(cursor: string): Place {
  const text = Buffer.from(cursor, 'base64url').toString()
  const match = /^(\d+):/.exec(text)
  if (!match)
    throw new MeshError('bad_frame', `cursor ${show(cursor)} is none that this mesh gave; start without one`)
  const rest = text.slice(match[0].length)
  return { name: rest.slice(0, Number(match[1])), id: rest.slice(Number(match[1])) }
}

/** `discover`: from this hub's copy of the registry, also while the store is down. */
export function discover({ connection, namespace }: Context, { ref, where, limit, cursor }: Discover): void {
  const filter = toFilter(where, ['online'])
  const { agents, more } = namespace.replica.find(
    filter,
    cursor == null ? null : parseCursor(cursor),
    limit ?? LIMITS.discoverLimitDefault,
  )
  let bytes = 0
  let count = 0
  // A page is at most 256 KiB, whatever its limit; but never empty where there is something.
  for (const { text } of agents) {
    bytes += text.length
    if (count > 0 && bytes > LIMITS.pageBytes) break
    count++
  }
  const page = agents.slice(0, count)
  const last = page.at(-1)?.record
  const next =
    last && (more || count < agents.length)
      ? JSON.stringify(toCursor({ name: last.registration.name, id: last.id }))
      : 'null'
  connection.reply(ref, `{"agents":[${page.map((agent) => agent.text).join(',')}],"cursor":${next}}`)
}
