import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { doubledRefusal, type Gate, hostlessRefusal, tokenRefusal } from './gate.ts'
import { isApi, sendRefusal } from './routes/api/refusal.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered by whatever name the hub was found: what is asked for by address, as load balancers and Prometheus do. */
    readonly anyHost?: boolean
  }
}

const CORS_METHODS = 'GET, POST, PUT, PATCH, DELETE'
const CORS_HEADERS = 'authorization, content-type, last-event-id, traceparent'
const CORS_MAX_AGE_S = 600

/** Every HTTP answer has the headers of security, and no route is reached past the gate. */
export function guard(app: FastifyInstance, gate: Gate): void {
  app.addHook('onRequest', (request: FastifyRequest, reply: FastifyReply, done) => {
    reply.headers(SECURITY_HEADERS)
    if (gate.isCrossOrigin) reply.header('vary', 'Origin')
    const { headers, raw, originalUrl } = request
    const refusal =
      hostlessRefusal(raw.httpVersion, headers.host) ??
      doubledRefusal(raw.rawHeaders) ??
      (request.routeOptions.config.anyHost === true && headers.origin === undefined
        ? tokenRefusal(originalUrl)
        : gate.refusal(headers, originalUrl))
    if (refusal) {
      if (isApi(request.url)) sendRefusal(refusal, reply)
      else reply.code(refusal.status).send({ error: refusal.text })
      return
    }
    const { origin } = headers
    if (origin === undefined || !gate.isListed(origin)) return done()
    reply.header('access-control-allow-origin', origin)
    if (request.method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return done()
    reply
      .code(204)
      .headers({
        'access-control-allow-methods': CORS_METHODS,
        'access-control-allow-headers': CORS_HEADERS,
        'access-control-max-age': CORS_MAX_AGE_S,
      })
      .send()
  })
}
