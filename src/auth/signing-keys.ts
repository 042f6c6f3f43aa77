import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { createLocalJWKSet, type CryptoKey, errors, type JWSHeaderParameters } from 'jose'

/** The algorithms a hub verifies, and which key each is for: a token's own word for its algorithm never decides what a key is used for. */
export const ALGORITHMS = {
  HS256: { kty: 'oct', crv: null },
  RS256: { kty: 'RSA', crv: null },
  ES256: { kty: 'EC', crv: 'P-256' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
} as const

export type Algorithm = keyof typeof ALGORITHMS

/** RFC 7518, 3.2: a key for HS256 is at least as long as its hash. */
const SECRET_MIN_BYTES = 32
const RSA_MIN_BITS = 2_048

export type VerifyingKey = KeyObject | CryptoKey

/** Where the keys are that tokens are verified with. */
export interface SigningKeys {
  /**
   * The keys that a token with this header may be signed with, by `alg` and `kid`; more than one only where `kid` leaves it open.
   * @throws MeshError `internal`, retryable, where that cannot be found out now
   */
  candidates(header: JWSHeaderParameters): Promise<readonly VerifyingKey[]>
}

/** A key that is not what it should be. The message never shows it. */
export class KeyError extends Error {
  override readonly name = 'KeyError'
}

/** A shared secret, for HS256 only; spaces and line ends around it are not part of it. @throws KeyError */
export function secretKeys(text: string): SigningKeys {
  const secret = Buffer.from(text.trim())
  if (/-----BEGIN /.test(text))
    throw new KeyError(
      'it holds a PEM key, which others may know; a secret is random, like `openssl rand -hex 32` makes it',
    )
  if (secret.length < SECRET_MIN_BYTES)
    throw new KeyError(`it has ${secret.length} bytes; a secret for HS256 has at least ${SECRET_MIN_BYTES}`)
  const key = createSecretKey(secret)
  return { candidates: async ({ alg }) => (alg === 'HS256' ? [key] : []) }
}

/** The algorithm that a public key is for, or null. */
export function algorithmOf({ kty, crv }: JsonWebKey): Algorithm | null {
  for (const [name, use] of Object.entries(ALGORITHMS))
    if (use.kty !== 'oct' && use.kty === kty && (use.crv === null || use.crv === crv))
      return name as Algorithm
  return null
}

/** Whether it is an RSA key that somebody might break. */
const isShort = ({ kty, n }: JsonWebKey): boolean =>
  kty === 'RSA' && Buffer.from(String(n), 'base64url').length * 8 < RSA_MIN_BITS

/** Keys of a JWK set as jose chooses among them: by type and curve, `alg`, `kid`, `use` and `key_ops`. @throws KeyError */
export function keySet(jwks: { readonly keys: readonly JsonWebKey[] }): SigningKeys {
  // One of a kind that is not verified with, or not meant for it, is passed over; what is secret must not be used as if it were public.
  const keys = jwks.keys.filter((key) => algorithmOf(key) !== null && key['d'] === undefined && !isShort(key))
  let set: ReturnType<typeof createLocalJWKSet>
  try {
    set = createLocalJWKSet({ keys: keys as never })
  } catch {
    throw new KeyError('it is no set of JSON Web Keys')
  }
  return {
    async candidates(header) {
      try {
        return [await set(header)]
      } catch (error) {
        if (error instanceof errors.JWKSMultipleMatchingKeys) {
          const several: CryptoKey[] = []
          for await (const key of error) several.push(key)
          return several
        }
        // Nothing matches, or what does is no key.
        return []
      }
    },
  }
}

/** What a public key in a file is held to, and what it is for. @throws KeyError */
function checkPublic(key: JsonWebKey): Algorithm {
  const algorithm = algorithmOf(key)
  if (key['d'] !== undefined || algorithm === null)
    throw new KeyError('it must hold public keys: RSA, EC on P-256, or Ed25519')
  if (isShort(key)) throw new KeyError(`an RSA key must have at least ${RSA_MIN_BITS} bits`)
  return algorithm
}

function parseJwks(text: string): readonly JsonWebKey[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new KeyError('it is neither PEM nor JSON')
  }
  const keys = (value as { keys?: unknown } | null)?.keys ?? [value]
  if (
    !Array.isArray(keys) ||
    keys.length === 0 ||
    keys.some((key) => typeof key !== 'object' || key === null)
  )
    throw new KeyError('it is no JSON Web Key and no set of them')
  return keys as JsonWebKey[]
}

/** What a key file holds: the keys, and the algorithms they are for. */
export interface KeyFile {
  readonly keys: SigningKeys
  readonly algorithms: readonly Algorithm[]
}

/**
 * A public key as PEM (or a certificate), whatever `kid` a token names; or a JWK or JWK set, in which `kid` counts.
 * @throws KeyError for private keys too: a hub has no use for one, and who reads its files would get it
 */
export function publicKeys(text: string): KeyFile {
  if (/PRIVATE KEY/.test(text)) throw new KeyError('it holds a private key; give the hub the public one')
  if (!text.trimStart().startsWith('-----BEGIN ')) {
    const keys = parseJwks(text)
    const algorithms = [...new Set(keys.map(checkPublic))]
    return { keys: keySet({ keys }), algorithms }
  }
  let jwk: JsonWebKey
  try {
    jwk = createPublicKey(text).export({ format: 'jwk' })
  } catch {
    throw new KeyError('it is no PEM of a public key')
  }
  const algorithm = checkPublic(jwk)
  const set = keySet({ keys: [jwk] })
  return {
    keys: { candidates: ({ alg }) => set.candidates(alg === undefined ? {} : { alg }) },
    algorithms: [algorithm],
  }
}
