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

function parseRange(version: string): Range {
  try {
    return new Range(version)
  } catch (cause) {
    throw new MeshError(
      'bad_frame',
      `where.version ${show(version)} is no npm semver range; write one like "^1.2" or ">=1 <3"`,
      {
        cause,
      },
    )
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
  const range = where?.version == null ? null : parseRange(where.version)
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
      return range === null || (registration.version !== null && range.test(registration.version))
    },
  }
}
