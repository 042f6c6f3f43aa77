import type { FastifyRequest } from 'fastify'
import { MeshError } from '../../../../protocol/errors.ts'
import { authenticateHeader } from '../../../auth/credentials.ts'
import { permissionText } from '../../../auth/permission.ts'
import { may, mayEnter, owns, type Principal } from '../../../auth/principal.ts'
import type { Hub } from '../../../hub/hub.ts'
import type { ApiSubject, ApiVerb, Authorize, Pass } from './authorize.ts'

const principals = new WeakMap<FastifyRequest, Promise<Principal>>()

/** Who asks; the token of a request is looked at once. @throws MeshError `unauthorized`, or `internal` where that cannot be found out now */
export function principalOf({ authenticator }: Hub, request: FastifyRequest): Promise<Principal> {
  const known = principals.get(request)
  if (known) return known
  const principal = authenticateHeader(authenticator, request.headers.authorization)
  principals.set(request, principal)
  return principal
}

/** What lets this principal do that. @throws MeshError `forbidden` */
function passOf(
  { authenticator }: Pick<Hub, 'authenticator'>,
  principal: Principal,
  verb: ApiVerb,
  subject: ApiSubject,
): Pass {
  const { kind, value, namespace } = subject
  if (!mayEnter(principal, namespace))
    throw new MeshError('forbidden', `this token is not for namespace ${JSON.stringify(namespace)}`)
  const isOwn = verb !== 'register' || owns(principal, value)
  if (!isOwn || !may(principal, verb, { kind, value }))
    throw new MeshError('forbidden', `this token does not permit ${permissionText(verb, { kind, value })}`)
  return {
    until: principal.expiresAt,
    again() {
      const current = authenticator.current(principal)
      if (current === null) throw new MeshError('unauthorized', 'this token counts no more')
      return passOf({ authenticator }, current, verb, subject)
    },
  }
}

/** Judges requests by the principal of their `Authorization` header; while authentication is off everybody may do everything. */
export const byPrincipal =
  (hub: Hub): Authorize =>
  async (request, verb, subject) =>
    passOf(hub, await principalOf(hub, request), verb, subject)
