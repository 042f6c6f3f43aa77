import { Range } from 'semver'
import type { AgentStatus } from '../../protocol/agent.ts'
import { show } from '../../protocol/agent.ts'
import type { Where } from '../../protocol/commands.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { AgentRecord } from '../core/registry.ts'

/** A `where` of `discover` or `subscribe`, ready to be asked of many agents. */
export interface Filter {
  matches(record: AgentRecord): boolean
  /** Capabilities and the group every match has: where an index may start. */
  readonly capabilities: readonly string[]
  readonly group: string | null
  readonly name: string | null
}

/** Alternatives (`||`) of a range: an agent is compared with each of them. */
const ALTERNATIVES_MAX = 16
/** Versions of which an answer is remembered: agents of a mesh have few, and one is asked of many. */
const REMEMBERED_MAX = 64

function parseRange(version: string): Range {
  try {
    const range = new Range(version)
    if (range.set.length <= ALTERNATIVES_MAX) return range
    throw new RangeError(`${range.set.length} alternatives, at most ${ALTERNATIVES_MAX} are allowed`)
  } catch (cause) {
    throw new MeshError(
      'bad_frame',
      `where.version ${show(version)} is no npm semver range; write one like "^1.2" or ">=1 <3", with at most ${ALTERNATIVES_MAX} alternatives`,
      {
        cause,
      },
    )
  }
}

/** Whether versions are in a range. */
function inRange(range: Range): (version: string) => boolean {
  const known = new Map<string, boolean>()
  return (version) => {
    const before = known.get(version)
    if (before !== undefined) return before
    if (known.size === REMEMBERED_MAX) known.clear()
    const now = range.test(version)
    known.set(version, now)
    return now
  }
}

/**
 * @param defaultStatus the statuses that match where `where` names none
 * @throws MeshError `bad_frame` where `version` is no range
 */
export function toFilter(where: Where | null | undefined, defaultStatus: readonly AgentStatus[]): Filter {
  const all = where?.capabilities?.all ?? []
  const any = where?.capabilities?.any ?? []
  const statuses = new Set<AgentStatus>(where?.status ?? defaultStatus)
  const name = where?.name ?? null
  const group = where?.group ?? null
  const matchesVersion = where?.version == null ? null : inRange(parseRange(where.version))
  const metadata = Object.entries(where?.metadata ?? {})
  return {
    capabilities: all,
    group,
    name,
    matches({ registration, state }) {
      if (!statuses.has(state.status)) return false
      if (name !== null && registration.name !== name) return false
      if (group !== null && !registration.groups.includes(group)) return false
      for (const capability of all) if (!registration.capabilities.includes(capability)) return false
      if (any.length > 0 && !any.some((capability) => registration.capabilities.includes(capability)))
        return false
      for (const [key, value] of metadata) {
        if (!Object.hasOwn(registration.metadata, key) || registration.metadata[key] !== value) return false
      }
      return (
        matchesVersion === null || (registration.version !== null && matchesVersion(registration.version))
      )
    },
  }
}
