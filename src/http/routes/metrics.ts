import type { FastifyPluginCallback } from 'fastify'
import type { Hub } from '../../hub/hub.ts'
import { demand, need } from '../../hub/needs.ts'
import { demandNamespace } from '../../hub/standing.ts'
import { METRICS_TYPE } from '../../observability/prometheus.ts'
import { authenticate } from '../authenticate.ts'

/** They tell of all namespaces. */
const needed = [need('admin', 'namespace', '*')]

/** `GET /metrics`: what Prometheus reads, by whatever name it finds the hub; see docs/metrics.md. */
export function metrics(hub: Hub, scrape: () => Promise<string>): FastifyPluginCallback {
  return (app, _options, done) => {
    const onRequest = authenticate(hub, (principal) => {
      demandNamespace(principal, '*')
      demand(principal, needed)
    })
    app.get('/metrics', { config: { anyHost: true }, onRequest }, async (_request, reply) =>
      reply.type(METRICS_TYPE).send(await scrape()),
    )
    done()
  }
}
