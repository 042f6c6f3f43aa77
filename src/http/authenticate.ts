import type { FastifyReply, FastifyRequest } from 'fastify'
import { MeshError } from '../../protocol/errors.ts'
import { authenticateHeader } from '../auth/credentials.ts'
import type { Principal } from '../auth/principal.ts'
import type { Hub } from '../hub/hub.ts'

const principals = new WeakMap<FastifyRequest, Principal>()

/** Who asks, of a request that `authenticate` let pass. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request)
  if (!principal) throw new Error('a route that asks who asks has no hook that finds it out')
  return principal
}

/** As bytes, since Fastify adds a character set to texts. The order of the fields is that of spec-ai's server. */
const answer = (reply: FastifyReply, status: number, { code, message }: MeshError): FastifyReply =>
  reply
    .code(status)
    .type('application/json')
    .send(Buffer.from(JSON.stringify({ code, error: message })))

/**
 * For `onRequest`, so before the body is read: finds out who asks, or answers 401, 403 (where `permit` throws) or 503; over the rate 429.
 * @param permit what is asked of everybody here; throws MeshError `forbidden`
 */
export function authenticate(
  { authenticator, log, metrics }: Hub,
  permit: (principal: Principal) => void = () => undefined,
): (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined> {
  return async (request, reply) => {
    try {
      const principal = await authenticateHeader(authenticator, request.headers.authorization)
      request.principalKey = principal.subject
      permit(principal)
      principals.set(request, principal)
      return undefined
    } catch (error) {
      request.takeRate()
      metrics.failed(error instanceof MeshError ? error.code : 'internal')
      if (!(error instanceof MeshError)) {
        log.error({ err: error }, 'authentication failed')
        return answer(reply, 500, new MeshError('internal', 'the hub failed at this request; try again'))
      }
      if (error.code === 'unauthorized') return answer(reply.header('www-authenticate', 'Bearer'), 401, error)
      if (error.code === 'forbidden') return answer(reply, 403, error)
      const retryAfterS = Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1_000))
      return answer(reply.header('retry-after', retryAfterS), 503, error)
    }
  }
}
