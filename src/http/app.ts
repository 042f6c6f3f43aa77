import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import type { Speak } from '../hub/dialect.ts'
import type { Hub } from '../hub/hub.ts'
import { Addresses } from './addresses.ts'
import { Gate } from './gate.ts'
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
import { unreadableAnswer } from './raw-answer.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { allowOf, findRoute } from './spec-ai/paths.ts'
import { originForm } from './target.ts'
import { type Pair, TLS } from './tls-files.ts'
import { acceptUpgrades, type Dialects, MESH_PATH } from './upgrade.ts'

/** An id of 256 characters, each of up to nine once it is in a URL. */
const PARAM_CHARS = 2_304

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
  app.register(mesh(MESH_PATH))
  app.register(specAi(hub))
  if (scrape !== null) app.register(metrics(hub, scrape))
  app.register(api(hub, version, options.api), { prefix: API_PATH })
  acceptUpgrades(app, { hub, gate, addresses, dialects })
  return app
}
