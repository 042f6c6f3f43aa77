import { isOwnId } from '../../protocol/agent.ts'
import type { Pattern } from './pattern.ts'
import { parsePermission, type Permission, type Subject, type Verb } from './permission.ts'

/** An identity and what it may do. */
export interface Principal {
  /** Whose token it is; null while authentication is off: anybody. */
  readonly subject: string | null
  readonly namespaces: readonly Pattern[]
  readonly permissions: readonly Permission[]
  /** When its token ends, milliseconds since 1970; null: never. */
  readonly expiresAt: number | null
  /** Names the token for whoever made the principal, not the token itself; null where there is nothing to look up again. */
  readonly tokenId: string | null
}

/** Who comes while authentication is off: may do everything, as any agent. */
export const ANYBODY: Principal = {
  subject: null,
  namespaces: [() => true],
  permissions: [parsePermission('*')],
  expiresAt: null,
  tokenId: null,
}

/** Whether a principal may do something to a subject. Nothing else decides on permissions. */
export function may({ permissions }: Principal, action: Verb, { kind, value }: Subject): boolean {
  for (const permission of permissions) {
    if (permission.verb !== null && permission.verb !== action) continue
    if (permission.kind !== null && permission.kind !== kind) continue
    if (permission.matches(value)) return true
  }
  return false
}

/** Whether a principal may be in a namespace at all. */
export const mayEnter = ({ namespaces }: Principal, namespace: string): boolean =>
  namespaces.some((matches) => matches(namespace))

/** Whether an agent id is a principal's own; while authentication is off every one is. */
export const owns = ({ subject }: Principal, agentId: string): boolean =>
  subject === null || isOwnId(subject, agentId)
