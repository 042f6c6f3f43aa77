import type { FastifyPluginCallback } from 'fastify'
import type { Hub } from '../../hub/hub.ts'

/** `GET /health`: 200 while the process lives. The first four fields are what spec-ai's own server answers. */
export function health(hub: Hub, version: string): FastifyPluginCallback {
  const startedAt = Date.now()
  return (app, _options, done) => {
    app.get('/health', { config: { anyHost: true, uncounted: true } }, () => ({
      status: 'healthy',
      version,
      uptime_seconds: Math.floor((Date.now() - startedAt) / 1_000),
      active_sessions: hub.connectionCount,
      hub: hub.id,
      core: hub.core.kind,
      draining: hub.draining,
    }))
    done()
  }
}
