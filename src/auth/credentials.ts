import { MeshError } from '../../protocol/errors.ts'
import type { Authenticator } from './authenticator.ts'
import type { Principal } from './principal.ts'

/** Characters of a token; as in `hello`. */
const TOKEN_MAX_CHARS = 16_384

const unreadable = (): MeshError =>
  new MeshError(
    'unauthorized',
    'the Authorization header is not readable; send "Bearer <token>", or "Basic" with the token as user name',
  )

/**
 * The token of an `Authorization` header: `Bearer <token>`, or `Basic` with the token as user name and no password, which is what a URL like
 * `http://TOKEN@host` makes of it. Null where there is no header.
 * @throws MeshError `unauthorized` where there is one that is neither
 */
export function tokenOf(authorization: string | undefined): string | null {
  if (authorization === undefined) return null
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([A-Za-z0-9._~+/=-]+) *$/.exec(authorization) ?? []
  if (value === '' || authorization.length > TOKEN_MAX_CHARS * 2) throw unreadable()
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') throw unreadable()
  const [user = '', ...password] = Buffer.from(value, 'base64').toString().split(':')
  // A password would be a second secret that nothing looks at.
  if (user === '' || password.join(':') !== '') throw unreadable()
  return user
}

/**
 * Who asks, by the `Authorization` header of an HTTP request (`request.headers.authorization`): for every door but `hello`.
 * @throws MeshError `unauthorized` (HTTP 401), or `internal` (503) where that cannot be found out now
 */
export async function authenticateHeader(
  authenticator: Authenticator,
  authorization: string | undefined,
): Promise<Principal> {
  return authenticator.authenticate(authenticator.required ? tokenOf(authorization) : null)
}
