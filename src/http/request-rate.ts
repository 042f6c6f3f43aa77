import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errorBody } from '../../protocol/error-table.ts'
import { MeshError } from '../../protocol/errors.ts'
import type { Hub } from '../hub/hub.ts'
import { RateTable } from '../hub/rate-table.ts'
import type { Addresses } from './addresses.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is, the subject of its principal, set by an `onRequest` hook; null: nobody's, and it counts for its address. */
    principalKey: string | null
    /** Whose it is, of principals or of addresses: one key for all that is counted of somebody beside the rate. */
    sourceKey(): string
    /** Counts it in the rate of whose it is. For requests that are answered before the hook that counts all others. @throws MeshError `rate_limited` */
    takeRate(): void
  }
  interface FastifyContextConfig {
    /** Which of its requests are never refused for their rate: those that acknowledge or are a sign of life, or ask how the hub is. */
    uncounted?: true | ((url: string) => boolean)
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
  app.decorateRequest('sourceKey', function (this: FastifyRequest) {
    const { principalKey } = this
    return principalKey === null ? `address ${addresses.keyOf(this.raw)}` : `principal ${principalKey}`
  })
  app.decorateRequest('takeRate', function (this: FastifyRequest) {
    const { principalKey } = this
    const now = Date.now()
    const waitMs =
      principalKey === null
        ? byAddress.claim(addresses.keyOf(this.raw), now)
        : hub.principalRates.claim(principalKey, now)
    if (waitMs === 0) return
    const text = 'more requests came than are taken; come back later'
    throw new MeshError('rate_limited', text, { retryAfterMs: waitMs })
  })
  app.addHook('preParsing', async (request) => {
    const { uncounted = false } = request.routeOptions.config
    if (uncounted === true || (uncounted !== false && uncounted(request.originalUrl))) return
    request.takeRate()
  })
  // A route with other words for its errors has a handler of its own.
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof MeshError) || error.code !== 'rate_limited') return reply.send(error)
    hub.metrics.failed(error.code)
    return reply
      .code(429)
      .header('Retry-After', Math.ceil((error.retryAfterMs ?? 0) / 1_000))
      .send({ error: errorBody(error) })
  })
}
