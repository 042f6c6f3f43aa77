import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Requests that may wait on one connection for the answer to the first. */
const WAITING_MAX = 128

interface Line {
  waiting: number
  last: ServerResponse
}

/**
 * Requests that come on one connection without waiting for the answers (pipelining) are worked on one after the other, as fast as the answers
 * are read: else whoever reads none would have a thousand of them made, and kept here. Who has still more wait is cut off.
 */
export function limitPipelining(app: FastifyInstance): void {
  const lines = new WeakMap<Socket, Line>()
  dropOfDestroyed(app)
  app.addHook('onRequest', ({ raw: { socket } }, reply, done) => {
    if (socket.destroyed) {
      reply.hijack()
      return
    }
    const line = lines.get(socket)
    if (line === undefined || line.last.closed) {
      lines.set(socket, { waiting: 0, last: reply.raw })
      done()
      return
    }
    if (line.waiting >= WAITING_MAX) {
      reply.hijack()
      socket.destroy()
      return
    }
    const before = line.last
    line.waiting++
    line.last = reply.raw
    before.once('close', () => {
      line.waiting--
      done()
    })
  })
}

/**
 * Node reads all requests of what came at once to their ends, though the first of them had the connection cut off: thousands. Nothing is looked up for
 * those. (Fastify's own listener is put behind this one; a `serverFactory` would keep it from listening on both addresses of `localhost`. On the second
 * one the hook above has them.)
 */
function dropOfDestroyed(app: FastifyInstance): void {
  app.server.removeAllListeners('request')
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.socket.destroyed) request.destroy()
    else app.routing(request, response)
  })
}
