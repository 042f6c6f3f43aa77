import { show } from '../../protocol/agent.ts'
import { MeshError } from '../../protocol/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Filter } from './filter.ts'
import type { ReplicaAgent } from './replica-agent.ts'
import type { Replica } from './replica.ts'

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

/**
 * A page of the agents that match, by name, and the cursor of the next one, or null. It is at most 256 KiB, whatever its limit; but never
 * empty where there is something.
 * @throws MeshError `bad_frame` where the cursor is none
 */
export function agentPage(
  replica: Replica,
  filter: Filter,
  cursor: string | null | undefined,
  limit: number | null | undefined,
): { readonly agents: readonly ReplicaAgent[]; readonly cursor: string | null } {
  const { agents, more } = replica.find(
    filter,
    cursor == null ? null : parseCursor(cursor),
    limit ?? LIMITS.discoverLimitDefault,
  )
  let bytes = 0
  let count = 0
  for (const { text } of agents) {
    bytes += text.length
    if (count > 0 && bytes > LIMITS.pageBytes) break
    count++
  }
  const page = agents.slice(0, count)
  const last = page.at(-1)?.record
  const isLast = !last || !(more || count < agents.length)
  return { agents: page, cursor: isLast ? null : toCursor({ name: last.registration.name, id: last.id }) }
}
