import type { FastifyPluginCallback } from 'fastify'
import type { Hub } from '../../hub/hub.ts'

/** `GET /ready`: 200 while a message that is sent through this hub now would arrive, else 503 with the reasons. */
export function ready(hub: Hub): FastifyPluginCallback {
  return (app, _options, done) => {
    app.get('/ready', { config: { anyHost: true, uncounted: true } }, async (_request, reply) => {
      const reasons = await hub.problems()
      return reply.code(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons })
    })
    done()
  }
}
