import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { fastify, type FastifyInstance } from 'fastify'
import { WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import type { Hub } from '../hub/hub.ts'
import { RateTable } from '../hub/rate-table.ts'
import { Addresses } from './addresses.ts'
import { Admission } from './admission.ts'
import { limitRequests } from './request-rate.ts'
import { health } from './routes/health.ts'
import { mesh } from './routes/mesh.ts'
import { ready } from './routes/ready.ts'
import { type Pair, TLS } from './tls-files.ts'

const PATH = '/mesh'

/** Seconds' worth of handshakes that one address may make at once: many clients may be behind it, and come back together. */
const ADDRESS_BURST_S = 10

/** What a peer may take of a server before it has said what it wants; docs/operations.md tells them. */
const PATIENCE = {
  /** Milliseconds from the first byte of a request to the end of its headers. */
  headersTimeout: 10_000,
  /** Milliseconds from the first byte of a request to its last. */
  requestTimeout: 30_000,
  /** How often that is looked at, milliseconds. */
  connectionsCheckingInterval: 1_000,
  /** Bytes of all headers together. */
  maxHeaderSize: 16_384,
} as const

/** Milliseconds in which nothing is asked on a connection that is kept: longer than load balancers keep theirs, which else meet a closed one. */
const KEEP_ALIVE_MS = 72_000

export interface AppOptions {
  /** What TLS is spoken with; absent: plain HTTP. */
  readonly pair?: Pair
  /** Other times than the usual ones, for tests. */
  readonly patience?: Partial<Record<keyof typeof PATIENCE, number>>
}

/** The HTTP side of a hub: its routes, and the upgrade to WebSocket at `/mesh`. Not yet listening. */
export function createApp(hub: Hub, version: string, { pair, patience }: AppOptions = {}): FastifyInstance {
  const limits = { ...PATIENCE, ...patience }
  const common = {
    forceCloseConnections: true,
    // Fastify sets these on its server itself, over those below.
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
    bodyLimit: hub.settings.maxMessageBytes,
  } as const
  // Whatever carries it, its users see the same app.
  const app = (
    pair
      ? fastify({ ...common, https: { ...limits, ...TLS, ...pair } })
      : fastify({ ...common, http: limits })
  ) as FastifyInstance
  const addresses = new Addresses(hub.settings.trustedProxies)
  limitRequests(app, hub, addresses)
  app.register(health(hub, version))
  app.register(ready(hub))
  app.register(mesh(PATH))
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: hub.settings.maxMessageBytes,
    // Frames are joined and written by ourselves (hub/outbox.ts); compressing each costs more than it saves.
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  })
  const perAddress = hub.settings.addressHandshakesPerSecond
  const handshakes = new RateTable(perAddress, Math.max(1, perAddress * ADDRESS_BURST_S))
  const admission = new Admission(hub.settings.handshakesPerSecond)
  hub.onDrain(() => admission.close())
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // A peer that is gone already must not end the hub.
    socket.on('error', destroy)
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      answerPlainly(app, request, socket)
      return
    }
    const refusal = refuse(hub, request)
    if (refusal) {
      end(socket, refusal)
      return
    }
    const now = Date.now()
    const address = perAddress === 0 ? '' : addresses.keyOf(request)
    if (handshakes.take(address, now) > 0) {
      end(socket, tooManyAnswer(Math.ceil(handshakes.promise(address, now) / 1_000)))
      return
    }
    admission.ask({
      get gone() {
        return socket.destroyed
      },
      enter() {
        socket.off('error', destroy)
        server.handleUpgrade(request, socket, head, (webSocket) => hub.accept(webSocket))
      },
      refuse: (retryAfterS) => end(socket, hub.draining ? drainingAnswer() : busyAnswer(retryAfterS)),
    })
  })
  return app
}

/**
 * An upgrade that this server does not know (`h2c`, which some HTTP clients always offer) may be left out (RFC 9110, 7.8): the request is
 * answered as if it had not been offered. Node has let go of its body by then, so only one that has none can be.
 */
function answerPlainly(app: FastifyInstance, request: IncomingMessage, socket: Duplex): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    end(socket, answer('501 Not Implemented', 'This hub upgrades to websocket only; ask without Upgrade'))
    return
  }
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as Socket)
  response.on('finish', () => socket.end(() => socket.destroy()))
  app.routing(request, response)
}

function destroy(this: Duplex): void {
  this.destroy()
}

/** Answers, and closes: one that never closes its side must not keep the socket. */
function end(socket: Duplex, text: string): void {
  socket.end(text, () => socket.destroy())
}

/** The HTTP answer to an upgrade that is not to be, or null. */
function refuse(hub: Hub, request: IncomingMessage): string | null {
  const [path] = (request.url ?? '').split('?')
  if (path !== PATH) return answer('404 Not Found', `WebSockets are at ${PATH}`)
  if (hub.draining) return drainingAnswer()
  const offered = request.headers['sec-websocket-protocol']
  if (offered !== undefined && !offered.split(',').some((one) => one.trim() === SUBPROTOCOL)) {
    return answer('400 Bad Request', `This hub speaks the subprotocol ${SUBPROTOCOL}; offer it, or none`)
  }
  return null
}

const drainingAnswer = (): string =>
  answer('503 Service Unavailable', 'This hub is shutting down; connect to another one', 'Retry-After: 0\r\n')

const busyAnswer = (retryAfterS: number): string =>
  answer(
    '503 Service Unavailable',
    'This hub takes no more connections now; come back later',
    `Retry-After: ${retryAfterS}\r\n`,
  )

const tooManyAnswer = (retryAfterS: number): string =>
  answer(
    '429 Too Many Requests',
    'More connections come from this address than this hub takes; come back later',
    `Retry-After: ${retryAfterS}\r\n`,
  )

function answer(status: string, text: string, headers = ''): string {
  const body = `${text}\n`
  return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}
