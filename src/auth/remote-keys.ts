import type { JsonWebKey } from 'node:crypto'
import type { JWSHeaderParameters } from 'jose'
import { MeshError } from '../../protocol/errors.ts'
import { keySet, type SigningKeys, type VerifyingKey } from './signing-keys.ts'

/** How long a set counts without being asked for again. */
const FRESH_MS = 600_000
/** How long it counts when it cannot be had again. After that nobody is let in. */
const STALE_MS = 3_600_000
/** After a failure, how long nobody asks. */
const RETRY_MS = 2_000
const TIMEOUT_MS = 5_000
const MAX_BYTES = 1_048_576
/** How long a `kid` that was not in the set is not asked for again. */
const UNKNOWN_MS = 30_000
const UNKNOWN_MAX = 1_000
/** Sets asked for because of a `kid` that was not in the last one: as many at once, then one in a time. Who makes up `kid`s brings about no more. */
const LOOKS_MAX = 5
const LOOK_EVERY_MS = 10_000

export interface RemoteKeysOptions {
  readonly url: string
  readonly onError: (error: Error) => void
  /** Milliseconds of a clock that nobody puts back. */
  readonly now?: () => number
  readonly timeoutMs?: number
}

interface Fetched {
  readonly keys: SigningKeys
  readonly at: number
}

/** A body of at most `MAX_BYTES`. */
async function readBody(response: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response.body ?? []) {
    bytes += part.length
    if (bytes > MAX_BYTES) throw new Error(`the key set has more than ${MAX_BYTES} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/**
 * Keys that an issuer publishes as a JWK set. It is fetched by the first token, one fetch at a time, and kept; again when it is 10 minutes old,
 * and when a token names a `kid` that it has not.
 */
export class RemoteKeys implements SigningKeys {
  readonly #url: string
  readonly #onError: (error: Error) => void
  readonly #now: () => number
  readonly #timeoutMs: number
  readonly #unknown = new Map<string, number>()
  #fetched: Fetched | null = null
  #fetching: Promise<Fetched> | null = null
  #failedAt = Number.NEGATIVE_INFINITY
  #looks = LOOKS_MAX
  #lookedAt = 0

  constructor({ url, onError, now = () => performance.now(), timeoutMs = TIMEOUT_MS }: RemoteKeysOptions) {
    this.#url = url
    this.#onError = onError
    this.#now = now
    this.#timeoutMs = timeoutMs
  }

  async candidates(header: JWSHeaderParameters): Promise<readonly VerifyingKey[]> {
    const fetched = await this.#current()
    const found = await fetched.keys.candidates(header)
    const kid = header.kid ?? ''
    if (found.length > 0 || this.#isUnknown(kid)) return found
    // Somebody else's fetch may be the newer one already.
    const newer = this.#fetched === fetched ? await this.#lookAgain() : this.#fetched
    const foundNow = (await newer?.keys.candidates(header)) ?? []
    if (foundNow.length === 0) this.#remember(kid)
    return foundNow
  }

  #isUnknown(kid: string): boolean {
    return (this.#unknown.get(kid) ?? 0) > this.#now()
  }

  #remember(kid: string): void {
    this.#unknown.delete(kid)
    this.#unknown.set(kid, this.#now() + UNKNOWN_MS)
    for (const oldest of this.#unknown.keys()) {
      if (this.#unknown.size <= UNKNOWN_MAX) break
      this.#unknown.delete(oldest)
    }
  }

  /** @throws MeshError where enough was asked for already: whether the key exists is not known then */
  async #lookAgain(): Promise<Fetched> {
    if (this.#fetching) return this.#fetching
    const now = this.#now()
    this.#looks = Math.min(LOOKS_MAX, this.#looks + (now - this.#lookedAt) / LOOK_EVERY_MS)
    this.#lookedAt = now
    if (this.#looks < 1) throw this.#unavailable('it was asked for too often for keys that it does not have')
    this.#looks--
    return this.#fetch()
  }

  /** The set as it is, fetched where it is too old. */
  async #current(): Promise<Fetched> {
    const fetched = this.#fetched
    const age = fetched === null ? Number.POSITIVE_INFINITY : this.#now() - fetched.at
    if (fetched !== null && age < FRESH_MS) return fetched
    try {
      return await this.#fetch()
    } catch (error) {
      if (fetched !== null && age < STALE_MS) return fetched
      throw error
    }
  }

  #fetch(): Promise<Fetched> {
    if (this.#fetching) return this.#fetching
    if (this.#now() - this.#failedAt < RETRY_MS)
      return Promise.reject(this.#unavailable('it has just failed'))
    const fetching = this.#get().finally(() => (this.#fetching = null))
    this.#fetching = fetching
    return fetching
  }

  async #get(): Promise<Fetched> {
    try {
      const response = await fetch(this.#url, {
        headers: { accept: 'application/jwk-set+json, application/json' },
        // Who answers for another address would answer with other keys.
        redirect: 'error',
        signal: AbortSignal.timeout(this.#timeoutMs),
      })
      if (response.status !== 200) throw new Error(`it answers ${response.status}`)
      const jwks = JSON.parse(await readBody(response)) as { keys?: unknown } | null
      const keys = jwks?.keys
      if (!Array.isArray(keys) || keys.some((key) => typeof key !== 'object' || key === null))
        throw new Error('it answers no set of JSON Web Keys')
      this.#fetched = { keys: keySet({ keys: keys as JsonWebKey[] }), at: this.#now() }
      return this.#fetched
    } catch (error) {
      this.#failedAt = this.#now()
      this.#onError(error as Error)
      throw this.#unavailable((error as Error).message)
    }
  }

  #unavailable(why: string): MeshError {
    return new MeshError('internal', 'the keys that tokens are signed with cannot be had now; try again', {
      details: why,
      retryAfterMs: RETRY_MS,
    })
  }
}
