import type { FastifyPluginCallback } from 'fastify'

/** `GET /mesh` without an upgrade to WebSocket: 426, and what to do instead. */
export function mesh(path: string): FastifyPluginCallback {
  return (app, _options, done) => {
    app.get(path, (_request, reply) =>
      reply
        .code(426)
        .headers({ upgrade: 'websocket', connection: 'Upgrade' })
        .type('text/plain')
        .send(`WebSockets are here: connect with a client (ws://…${path})\n`),
    )
    done()
  }
}
