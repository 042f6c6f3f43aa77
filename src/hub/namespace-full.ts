import { show } from '../../protocol/agent.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Namespace } from './namespace.ts'

/** What another agent is told where a namespace has as many as it may. */
export const namespaceFull = ({ name, settings }: Namespace): MeshError =>
  new MeshError(
    'quota_exceeded',
    `namespace ${show(name)} has ${settings.namespaceAgentsMax} agents, those offline included, and may have no more`,
    { retryAfterMs: 10_000 },
  )
