import type { FastifyRequest } from 'fastify'
import { MeshError } from '../../../../protocol/errors.ts'
import { authenticateHeader } from '../../../auth/credentials.ts'
import { permissionText } from '../../../auth/permission.ts'
import { may, mayEnter, owns } from '../../../auth/principal.ts'
import type { Hub } from '../../../hub/hub.ts'
import type { Authorize } from './authorize.ts'

/** Whose rate a request counts in; null: nobody's. Where the token is not accepted, the operation says so. */
export async function subjectOf({ authenticator }: Hub, { headers }: FastifyRequest): Promise<string | null> {
  if (!authenticator.required || headers.authorization === undefined) return null
  return authenticateHeader(authenticator, headers.authorization).then(
    ({ subject }) => subject,
    () => null,
  )
}

/** Judges requests by the principal of their `Authorization` header; while authentication is off everybody may do everything. */
export const byPrincipal =
  ({ authenticator }: Hub): Authorize =>
  async ({ headers }, verb, { kind, value, namespace }) => {
    const principal = await authenticateHeader(authenticator, headers.authorization)
    if (!mayEnter(principal, namespace))
      throw new MeshError('forbidden', `this token is not for namespace ${JSON.stringify(namespace)}`)
    const isOwn = verb !== 'register' || owns(principal, value)
    if (!isOwn || !may(principal, verb, { kind, value }))
      throw new MeshError('forbidden', `this token does not permit ${permissionText(verb, { kind, value })}`)
    return principal.expiresAt
  }
