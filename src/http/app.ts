import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { WebSocketServer } from 'ws'
import { MeshError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import { authenticateHeader } from '../auth/credentials.ts'
import type { Principal } from '../auth/principal.ts'
import type { Speak } from '../hub/dialect.ts'
import type { Hub } from '../hub/hub.ts'
import { RateTable } from '../hub/rate-table.ts'
import { Addresses } from './addresses.ts'
import { Admission } from './admission.ts'
import { doubledRefusal, Gate } from './gate.ts'
import { api, type ApiOptions } from './routes/api/index.ts'
import { API_PATH, isApi, sendFrameworkError } from './routes/api/refusal.ts'
import { authenticate } from './authenticate.ts'
import { guard } from './guard.ts'
import { limitPipelining } from './pipelining.ts'
import { limitRequests } from './request-rate.ts'
import { health } from './routes/health.ts'
import { mesh } from './routes/mesh.ts'
import { metrics } from './routes/metrics.ts'
import { ready } from './routes/ready.ts'
import { rewriteSpecAiUrl, specAi } from './routes/spec-ai.ts'
import { rawAnswer, SECURITY_LINES, unreadableAnswer } from './raw-answer.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { allowOf, findRoute } from './spec-ai/paths.ts'
import { originForm } from './target.ts'
import { type Pair, TLS } from './tls-files.ts'

const PATH = '/mesh'
/** Of WebSocket: 13 is that of RFC 6455, and 8 a draft that differs in nothing here. */
const VERSIONS: ReadonlySet<string | undefined> = new Set(['8', '13'])
const STATUS_START = 'HTTP/1.1 '.length

/** An id of 256 characters, each of up to nine once it is in a URL. */
const PARAM_CHARS = 2_304

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

/** Subprotocols of other clients than the hub's own → how their connections are spoken with. */
export type Dialects = ReadonlyMap<string, Speak>

export interface AppOptions {
  readonly dialects?: Dialects
  /** What `GET /metrics` answers; absent or null: there is none. */
  readonly scrape?: (() => Promise<string>) | null
  readonly api?: ApiOptions
  /** What TLS is spoken with; absent: plain HTTP. */
  readonly pair?: Pair
  /** Other times than the usual ones, for tests. */
  readonly patience?: Partial<Record<keyof typeof PATIENCE, number>>
}

/** The HTTP side of a hub: its routes, and the upgrade to WebSocket at `/mesh`. Not yet listening. */
export function createApp(hub: Hub, version: string, options: AppOptions = {}): FastifyInstance {
  const { dialects = new Map<string, Speak>(), scrape = null, pair, patience } = options
  const subprotocols = [SUBPROTOCOL, ...dialects.keys()]
  const limits = { ...PATIENCE, ...patience }
  // Who sends no Host is answered by the guard, as everybody else.
  const server = { ...limits, requireHostHeader: false }
  const common = {
    forceCloseConnections: true,
    // Fastify sets these on its server itself, over those below.
    requestTimeout: limits.requestTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
    bodyLimit: hub.settings.maxMessageBytes,
    routerOptions: { maxParamLength: PARAM_CHARS },
    rewriteUrl: ({ url = '/' }: { readonly url?: string | undefined }) => rewriteSpecAiUrl(originForm(url)),
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => {
      const text = unreadableAnswer(error)
      if (text !== null && socket.writable) socket.write(text)
      socket.destroy()
    },
    // What no route is looked up for has no hooks either.
    frameworkErrors: (error: FastifyError, { url }: { readonly url: string }, reply: FastifyReply) => {
      if (isApi(url)) void sendFrameworkError(error, reply.headers(SECURITY_HEADERS))
      else
        void reply
          .code(error.statusCode ?? 400)
          .headers(SECURITY_HEADERS)
          .send({ error: error.message })
    },
  }
  // Whatever carries it, its users see the same app.
  const app = (
    pair
      ? fastify({ ...common, https: { ...server, ...TLS, ...pair } })
      : fastify({ ...common, http: server })
  ) as FastifyInstance
  limitPipelining(app)
  app.server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(417, { ...SECURITY_HEADERS, connection: 'close' }).end()
  })
  const gate = new Gate(hub.settings)
  guard(app, gate)
  const addresses = new Addresses(hub.settings.trustedProxies)
  limitRequests(app, hub, addresses)
  // What is not served is nobody's business either.
  const knock = authenticate(hub)
  app.addHook('onRequest', async (request, reply) =>
    request.is404 && !isApi(request.url) ? knock(request, reply) : undefined,
  )
  // As axum answers what it does not serve, for clients that were made for it.
  app.setNotFoundHandler((request, reply) => {
    const [url = '/'] = originForm(request.originalUrl).split('?')
    // Methods that Fastify has no routes for, such as PROPFIND, come here also with paths that are served.
    const route = findRoute(url)
    if (route !== null) return reply.code(405).header('allow', allowOf(route)).send()
    if (request.method === 'GET' || !app.hasRoute({ method: 'GET', url })) return reply.code(404).send()
    return reply.code(405).header('allow', 'GET,HEAD').send()
  })
  app.register(health(hub, version))
  app.register(ready(hub))
  app.register(mesh(PATH))
  app.register(specAi(hub))
  if (scrape !== null) app.register(metrics(hub, scrape))
  app.register(api(hub, version, options.api), { prefix: API_PATH })
  const webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: hub.settings.maxMessageBytes,
    // Frames are joined and written by ourselves (hub/outbox.ts); compressing each costs more than it saves.
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => subprotocols.find((one) => offered.has(one)) ?? false,
  })
  webSockets.on('headers', (lines) => lines.push(...SECURITY_LINES))
  webSockets.on('wsClientError', (error, socket) => refuseWith(hub, socket, rawAnswer(400, error.message)))
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
    const refusal = refuse(hub, gate, request, subprotocols)
    if (refusal) {
      refuseWith(hub, socket, refusal)
      return
    }
    const now = Date.now()
    const address = perAddress === 0 ? '' : addresses.keyOf(request)
    if (handshakes.take(address, now) > 0) {
      refuseWith(hub, socket, tooManyAnswer(Math.ceil(handshakes.promise(address, now) / 1_000)))
      return
    }
    admission.ask({
      get gone() {
        return socket.destroyed
      },
      enter() {
        identify(hub, request).then(
          (principal) => {
            if (socket.destroyed) return
            if (hub.draining) {
              end(socket, drainingAnswer())
              return
            }
            socket.off('error', destroy)
            webSockets.handleUpgrade(request, socket, head, (webSocket) =>
              hub.accept(webSocket, { principal, speak: dialects.get(webSocket.protocol) }),
            )
          },
          (error: unknown) => end(socket, unidentifiedAnswer(hub, error)),
        )
      },
      refuse: (retryAfterS) =>
        refuseWith(hub, socket, hub.draining ? drainingAnswer() : busyAnswer(retryAfterS)),
    })
  })
  return app
}

/** Who knocks, by the `Authorization` header; null where `hello` has to say, and while authentication is off. @throws MeshError */
async function identify({ authenticator }: Hub, { headers }: IncomingMessage): Promise<Principal | null> {
  if (!authenticator.required || headers.authorization === undefined) return null
  return authenticateHeader(authenticator, headers.authorization)
}

function unidentifiedAnswer(hub: Hub, error: unknown): string {
  if (error instanceof MeshError && error.code === 'unauthorized')
    return rawAnswer(401, error.message, { 'WWW-Authenticate': 'Bearer' })
  if (error instanceof MeshError)
    return rawAnswer(503, error.message, { 'Retry-After': Math.ceil((error.retryAfterMs ?? 0) / 1_000) })
  hub.log.error({ err: error }, 'authentication failed')
  return rawAnswer(500, 'The hub failed at this request; try again')
}

/**
 * An upgrade that this server does not know (`h2c`, which some HTTP clients always offer) may be left out (RFC 9110, 7.8): the request is
 * answered as if it had not been offered. Node has let go of its body by then, so only one that has none can be.
 */
function answerPlainly(app: FastifyInstance, request: IncomingMessage, socket: Duplex): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    end(socket, rawAnswer(501, 'This hub upgrades to websocket only; ask without Upgrade'))
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

/** Answers a handshake that is not to be. */
function refuseWith(hub: Hub, socket: Duplex, text: string): void {
  hub.metrics.refused(Number(text.slice(STATUS_START, STATUS_START + 3)))
  end(socket, text)
}

/** The HTTP answer to an upgrade that is not to be, or null. */
function refuse(
  hub: Hub,
  gate: Gate,
  request: IncomingMessage,
  subprotocols: readonly string[],
): string | null {
  const { headers, url = '/', method } = request
  const refusal = doubledRefusal(request.rawHeaders) ?? gate.refusal(headers, url)
  if (refusal) return rawAnswer(refusal.status, refusal.text)
  const [path] = originForm(url).split('?')
  if (path !== PATH) return rawAnswer(404, `WebSockets are at ${PATH}`)
  if (method !== 'GET') return rawAnswer(405, 'Ask for a WebSocket by GET', { Allow: 'GET' })
  if (!VERSIONS.has(headers['sec-websocket-version']))
    return rawAnswer(426, 'This hub speaks version 13 of WebSocket', { 'Sec-WebSocket-Version': 13 })
  if (hub.draining) return drainingAnswer()
  const offered = headers['sec-websocket-protocol']
  if (offered !== undefined && !offered.split(',').some((one) => subprotocols.includes(one.trim()))) {
    const known = subprotocols.join(' and ')
    return rawAnswer(400, `This hub speaks ${known} over WebSocket; offer one of them, or none`)
  }
  return null
}

const drainingAnswer = (): string =>
  rawAnswer(503, 'This hub is shutting down; connect to another one', { 'Retry-After': 0 })

const busyAnswer = (retryAfterS: number): string =>
  rawAnswer(503, 'This hub takes no more connections now; come back later', { 'Retry-After': retryAfterS })

const tooManyAnswer = (retryAfterS: number): string =>
  rawAnswer(429, 'More connections come from this address than this hub takes; come back later', {
    'Retry-After': retryAfterS,
  })
