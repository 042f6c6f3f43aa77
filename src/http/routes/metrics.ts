import type { FastifyPluginCallback } from 'fastify'
import { METRICS_TYPE } from '../../observability/prometheus.ts'

/** `GET /metrics`: what Prometheus reads; see docs/metrics.md. */
export function metrics(scrape: () => Promise<string>): FastifyPluginCallback {
  return (app, _options, done) => {
    app.get('/metrics', async (_request, reply) => reply.type(METRICS_TYPE).send(await scrape()))
    done()
  }
}
