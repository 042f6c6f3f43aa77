import type { Authenticator } from './authenticator.ts'
import type { Principal } from './principal.ts'

/** How a JSON Web Token begins: `{"` in Base64, and three parts. */
const JWT = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/

/** Static tokens beside signed ones: what looks like a JSON Web Token is judged as one, everything else as a static token. */
export class EitherTokens implements Authenticator {
  readonly required = true
  readonly #listed: Authenticator
  readonly #signed: Authenticator

  constructor(listed: Authenticator, signed: Authenticator) {
    this.#listed = listed
    this.#signed = signed
  }

  authenticate(token: string | null): Promise<Principal> {
    return (token !== null && JWT.test(token) ? this.#signed : this.#listed).authenticate(token)
  }

  current(principal: Principal): Principal | null {
    return principal.tokenId === null ? this.#signed.current(principal) : this.#listed.current(principal)
  }

  onChange(listener: () => void): void {
    this.#listed.onChange(listener)
    this.#signed.onChange(listener)
  }

  close(): void {
    this.#listed.close()
    this.#signed.close()
  }
}
