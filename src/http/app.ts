import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { fastify, type FastifyInstance } from 'fastify'
import { WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Hub } from '../hub/hub.ts'
import { health } from './routes/health.ts'
import { ready } from './routes/ready.ts'

const PATH = '/mesh'

/** The HTTP side of a hub: its routes, and the upgrade to WebSocket at `/mesh`. Not yet listening. */
export function createApp(hub: Hub, version: string): FastifyInstance {
  const app = fastify({ forceCloseConnections: true })
  app.register(health(hub, version))
  app.register(ready(hub))
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: hub.settings.maxMessageBytes,
    // Frames are joined and written by ourselves (hub/outbox.ts); compressing each costs more than it saves.
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  })
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = refuse(hub, request)
    if (refusal) {
      // A peer that is gone already must not end the hub, nor one that never closes its side keep the socket.
      socket.on('error', () => socket.destroy())
      socket.end(refusal, () => socket.destroy())
      return
    }
    server.handleUpgrade(request, socket, head, (webSocket) => hub.accept(webSocket))
  })
  return app
}

/** The HTTP answer to an upgrade that is not to be, or null. */
function refuse(hub: Hub, request: IncomingMessage): string | null {
  const [path] = (request.url ?? '').split('?')
  if (path !== PATH) return answer('404 Not Found', `WebSockets are at ${PATH}`)
  if (hub.draining)
    return answer(
      '503 Service Unavailable',
      'This hub is shutting down; connect to another one',
      'Retry-After: 1\r\n',
    )
  const offered = request.headers['sec-websocket-protocol']
  if (offered !== undefined && !offered.split(',').some((one) => one.trim() === SUBPROTOCOL)) {
    return answer('400 Bad Request', `This hub speaks the subprotocol ${SUBPROTOCOL}; offer it, or none`)
  }
  return null
}

function answer(status: string, text: string, headers = ''): string {
  const body = `${text}\n`
  return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
