import type { FastifyInstance } from 'fastify'
import { errorBody } from '../../protocol/error-table.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Hub } from '../hub/hub.ts'
import { RateTable } from '../hub/rate-table.ts'
import type { Addresses } from './addresses.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is, as `Connection.principalKey`, set by an `onRequest` hook; null: nobody's, and it counts for its address. */
    principalKey: string | null
  }
  interface FastifyContextConfig {
    /** It acknowledges or answers, or asks how the hub is: never refused for its rate. */
    uncounted?: boolean
  }
}

/**
 * Answers 429 with Retry-After to requests over the rate of their principal, which they share with its connections, or of their address;
 * before their body is read.
 */
export function limitRequests(app: FastifyInstance, hub: Hub, addresses: Addresses): void {
  const { ratePerSecond, rateBurst } = hub.settings
  const byAddress = new RateTable(ratePerSecond, rateBurst)
  app.decorateRequest('principalKey', null)
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (request.routeOptions.config.uncounted === true) {
      done()
      return
    }
    const { principalKey } = request
    const now = Date.now()
    const waitMs =
      principalKey === null
        ? byAddress.take(addresses.keyOf(request.raw), now)
        : hub.principalRates.take(principalKey, now)
    if (waitMs === 0) {
      done()
      return
    }
    const error = new MeshError('rate_limited', 'more requests came than are taken; come back later', {
      retryAfterMs: waitMs,
    })
    void reply
      .code(429)
      .header('Retry-After', Math.ceil(waitMs / 1_000))
      .send({ error: errorBody(error) })
  })
}
