import type { AgentStatus } from '../protocol/agent.ts'

/** Which agents are meant; each field that is given has to match. */
export interface Where {
  /** `all`: has every one of these. `any`: has at least one of these. At most 20 each. */
  readonly capabilities?: { readonly all?: readonly string[]; readonly any?: readonly string[] }
  /** Absent: `online` in `discover`, every status in `watch`. */
  readonly status?: readonly AgentStatus[]
  readonly name?: string
  readonly group?: string
  /** An npm semver range, like `^1.2`. */
  readonly version?: string
  /** Each key has exactly this value. */
  readonly metadata?: Readonly<Record<string, string>>
}
