import type { Principal } from './principal.ts'
import { ANYBODY } from './principal.ts'

/** Says whose token it is. Fails closed: whatever goes wrong, nobody is let in. */
export interface Authenticator {
  /** False: no token is looked at and everybody is let in. */
  readonly required: boolean
  /**
   * The principal of a token.
   * @throws MeshError `unauthorized` where it is missing or not accepted; `internal`, which is retryable, where that cannot be found out now
   */
  authenticate(token: string | null): Promise<Principal>
  /** What a principal from `authenticate` is now: another one of the same subject where its token's entry has changed, null where the token counts no more. */
  current(principal: Principal): Principal | null
  /** Calls back when `current` may answer otherwise than before; one listener. */
  onChange(listener: () => void): void
  close(): void
}

/** No authentication: who reaches the port may do everything. */
export const OPEN: Authenticator = {
  required: false,
  authenticate: () => Promise.resolve(ANYBODY),
  current: (principal) => principal,
  onChange: () => undefined,
  close: () => undefined,
}
