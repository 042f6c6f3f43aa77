import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose'
import { MeshError } from '../../protocol/errors.ts'
import type { Authenticator } from './authenticator.ts'
import { ClaimError, toPrincipal } from './claims.ts'
import type { Principal } from './principal.ts'
import type { Algorithm, SigningKeys } from './signing-keys.ts'

/** Seconds that the clocks of issuer and hub may differ. */
const CLOCK_TOLERANCE_S = 5
const TOKEN_MAX_CHARS = 16_384
/** Keys without `kid` that a token is tried with. */
const TRIED_MAX = 8

const isEarly = ({ claim, reason }: errors.JWTClaimValidationFailed): boolean =>
  claim === 'nbf' && reason === 'check_failed'

export interface JwtOptions {
  readonly keys: SigningKeys
  /** What a token may be signed with. */
  readonly algorithms: readonly Algorithm[]
  /** Who must have issued it; null: anybody who has the key. */
  readonly issuer: string | null
  /** Whom it must be for; null: not looked at. */
  readonly audience: string | null
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** JSON Web Tokens: `sub`, `ns`, `mesh` and `exp` make the principal. One without `exp` is refused: nothing could end it. */
export class JwtTokens implements Authenticator {
  readonly required = true
  readonly #options: JwtOptions
  readonly #now: () => number

  constructor(options: JwtOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  async authenticate(token: string | null): Promise<Principal> {
    if (token === null || token === '')
      throw new MeshError('unauthorized', 'a token is missing; send it as Authorization: Bearer, or in hello')
    try {
      const { sub, ns, mesh, exp } = (await this.#verify(token)) as JWTPayload & {
        ns?: unknown
        mesh?: unknown
      }
      return toPrincipal({ sub, ns, mesh, exp }, null)
    } catch (error) {
      if (error instanceof MeshError) throw error
      throw new MeshError('unauthorized', `the token is not accepted: ${this.#reason(error)}`)
    }
  }

  async #verify(token: string): Promise<JWTPayload> {
    if (token.length > TOKEN_MAX_CHARS) throw new ClaimError('it is too long')
    const header = decodeProtectedHeader(token)
    const { algorithms, keys, issuer, audience } = this.#options
    const { alg } = header
    // Before any key is looked for: `none` and what is not listed must bring about nothing.
    if (!algorithms.some((one) => one === alg)) throw new errors.JOSEAlgNotAllowed('not listed')
    const candidates = await keys.candidates({
      ...(alg !== undefined && { alg }),
      ...(header.kid !== undefined && { kid: header.kid }),
    })
    const rules: JWTVerifyOptions = {
      algorithms: [...algorithms],
      ...(issuer !== null && { issuer }),
      ...(audience !== null && { audience }),
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['sub', 'exp'],
      currentDate: new Date(this.#now()),
    }
    for (const key of candidates.slice(0, TRIED_MAX)) {
      try {
        return (await jwtVerify(token, key, rules)).payload
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw candidates.length === 0
      ? new errors.JWKSNoMatchingKey()
      : new errors.JWSSignatureVerificationFailed()
  }

  /** What was wrong, without anything of the token. */
  #reason(error: unknown): string {
    if (error instanceof ClaimError) return error.message
    if (error instanceof errors.JWTExpired) return 'it has expired; fetch a new one'
    if (error instanceof errors.JWTClaimValidationFailed && isEarly(error))
      return 'it does not count yet (nbf); wait, or set the clocks'
    if (error instanceof errors.JWTClaimValidationFailed)
      return error.reason === 'missing'
        ? `its claim ${error.claim} is missing`
        : `its claim ${error.claim} is not what this hub asks for`
    if (error instanceof errors.JOSEAlgNotAllowed)
      return `it is not signed by ${this.#options.algorithms.join(', ')}`
    if (error instanceof errors.JWKSNoMatchingKey) return 'this hub has no key of that kind and kid'
    if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong'
    return 'it is no signed JSON Web Token'
  }

  current(principal: Principal): Principal {
    return principal
  }

  onChange(): void {
    // A signed token counts until it expires.
  }

  close(): void {
    // Nothing is kept open.
  }
}
