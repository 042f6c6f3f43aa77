import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import { toForeignRegistration } from '../../../protocol/foreign-agent.ts'
import { MeshError } from '../../../protocol/errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { owns, type Principal } from '../../auth/principal.ts'
import { Doorway } from '../../hub/doorway.ts'
import type { Hub } from '../../hub/hub.ts'
import { demand, need, permits, registering } from '../../hub/needs.ts'
import { demandNamespace } from '../../hub/standing.ts'
import { authenticate, principalOf } from '../authenticate.ts'
import { traceparentOf } from '../trace-context.ts'
import { DataError, readAcknowledge, readHeartbeat, readRegister, readSend } from '../spec-ai/bodies.ts'
import { type Json, JsonSyntaxError, parseJson } from '../spec-ai/json-text.ts'
import { meshOf, toAddress } from '../spec-ai/members.ts'
import { messageId } from '../spec-ai/message-ids.ts'
import { toOurs } from '../spec-ai/message-types.ts'
import { toAgentMessage } from '../spec-ai/messages.ts'
import { allowOf, decodeId, findRoute, isSpecAiUrl, type Route } from '../spec-ai/paths.ts'

/** The one route that Fastify knows of this API: which of its own is meant, and whether it exists, is told as axum tells it. */
const INNER_URL = '/spec-ai'
/** What axum takes where nothing is said. */
const BODY_MAX_BYTES = 2 * 1_048_576
/** Bytes of messages in one answer: who never acknowledges must not cost more at every look. */
const PEEK_BYTES = 16 * 1_048_576

const JSON_TYPE = /^application\/(?:[^\s;/]+\+)?json\s*(?:;|$)/i
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Where Fastify is to look for the route of a URL. */
export const rewriteSpecAiUrl = (url: string): string => (isSpecAiUrl(url) ? INNER_URL : url)

/** An answer in plain text, as axum's extractors give it. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, text: string) {
    super(text)
    this.status = status
  }
}

/** Statuses of what a request can meet; what is not here is 503. */
const STATUS: Readonly<Record<string, number>> = {
  unknown_target: 400,
  bad_frame: 400,
  forbidden: 403,
  agent_taken: 409,
  name_taken: 409,
  payload_too_large: 413,
  inbox_full: 429,
  quota_exceeded: 429,
  rate_limited: 429,
  internal: 500,
}

/** As `ack` and `pong` of a connection: who is over its rate must not lose what it acknowledges, or be offline for it. */
const isUncounted = (url: string): boolean => {
  const name = findRoute(url)?.name
  return name === 'acknowledge' || name === 'heartbeat'
}

const INVALID: ReadonlySet<string> = new Set(['invalid_agent', 'invalid_name', 'invalid_capability'])

/**
 * spec-ai's mesh API (docs/http-api.md), for its clients as they are. Who joins here lives by heartbeats, and is one of the mesh: agents with
 * a connection, on any hub, see it, and it sees them. It acts for ids that registered here and for no others, and with authentication on only for those
 * that were registered by the same principal: their ids are no subject's, so whoever registers one owns it.
 */
export function specAi(hub: Hub): FastifyPluginCallback {
  const { httpNamespace, httpStaleMs, httpMessageKinds } = hub.settings
  const leading = need('lead', 'namespace', httpNamespace)
  const discovering = need('discover', 'namespace', httpNamespace)
  const doorway = new Doorway(hub, 'http', httpNamespace, httpStaleMs)

  const handlers: Record<Route['name'], (call: Call) => Promise<FastifyReply>> = {
    async register({ body, ip, principal, reply }) {
      const given = readRegister(body())
      const { instanceId, hostname, port } = given
      if (hostname.length > LIMITS.stringChars) {
        throw new DataError(`hostname: longer than ${LIMITS.stringChars} characters`)
      }
      const registration = toForeignRegistration(
        {
          id: instanceId,
          capabilities: given.capabilities,
          profiles: given.agentProfiles,
          address: toAddress(hostname, port),
          // What it says of its host is the address it listens on: where it is the connection knows better.
          metadata: { peer: ip },
        },
        'http',
      )
      demand(principal, registering(instanceId, registration.capabilities))
      const eligible = {
        ...registration,
        leaderEligible: registration.leaderEligible && permits(principal, leading),
      }
      const { leader, instances } = meshOf(await doorway.enrol(instanceId, eligible, principal.subject))
      const isLooking = permits(principal, discovering)
      return sendJson(reply, 200, {
        success: true,
        instance_id: instanceId,
        is_leader: leader === instanceId,
        leader_id: leader,
        peers: isLooking ? instances : instances.filter((one) => one.instance_id === instanceId),
      })
    },

    async agents({ principal, reply }) {
      demand(principal, [discovering])
      const { leader, instances } = meshOf(await doorway.registry())
      return sendJson(reply, 200, { instances, leader_id: leader })
    },

    async heartbeat({ id, body, principal, reply }) {
      const { status, metrics } = readHeartbeat(body())
      demand(principal, [need('register', 'agent', id)])
      // Cut where no pair of surrogates is.
      const statusReason = status.slice(0, LIMITS.stringChars).replace(/\p{Surrogate}$/u, '')
      const { subject: owner } = principal
      const { known, leader } = await doorway.beat(id, { statusReason, metrics }, owner)
      const leads = known && !permits(principal, leading) ? await doorway.stepBack(id, owner) : leader
      const answer = { acknowledged: known, leader_id: leads, should_sync: false }
      return sendJson(reply, known ? 200 : 404, answer)
    },

    async deregister({ id, principal, reply }) {
      return reply.code((await doorway.leave(id, principal.subject)) ? 204 : 404).send()
    },

    async send({ id: source, body, traceparent, principal, reply }) {
      const { target, type, payload, correlationId } = readSend(body())
      if (source.length > LIMITS.targetMaxChars) {
        throw new MeshError(
          'bad_frame',
          `Source instance id is longer than ${LIMITS.targetMaxChars} characters`,
        )
      }
      demand(principal, [target === null ? need('broadcast', 'role', 'all') : need('send', 'agent', target)])
      const { subject: owner } = principal
      const from = { source, owner, isFree: owns(principal, source) }
      const id = messageId()
      const recipients = await doorway
        .send({ id, ...from, target, payload, correlationId, traceparent, ...toOurs(type) })
        .catch((error: unknown) => {
          if (!(error instanceof MeshError) || error.code !== 'unknown_target') throw error
          throw new MeshError('unknown_target', `Target instance '${target}' not found`)
        })
      return sendJson(reply, 200, { message_id: id, status: 'queued', delivered_to: recipients })
    },

    async messages({ id, principal, reply }) {
      const frames = await doorway.peek(id, PEEK_BYTES, principal.subject)
      const messages = frames.map((frame) => toAgentMessage(frame, id, httpMessageKinds))
      return sendText(reply, 200, `{"messages":[${messages.join(',')}]}`)
    },

    async acknowledge({ id, body, principal, reply }) {
      await doorway.acknowledge(id, readAcknowledge(body()), principal.subject)
      return reply.code(204).send()
    },
  }

  return (app, _options, done) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: BODY_MAX_BYTES },
      (_request, body, parsed) => parsed(null, body),
    )
    app.addHook(
      'onRequest',
      authenticate(hub, (principal) => demandNamespace(principal, httpNamespace)),
    )
    app.setErrorHandler((error, request, reply) => answerError(hub, error, request, reply))
    app.all(
      INNER_URL,
      { bodyLimit: BODY_MAX_BYTES, config: { uncounted: isUncounted } },
      (request, reply) => {
        const route = findRoute(request.originalUrl)
        if (route === null) return reply.code(404).send()
        const method = request.method === 'HEAD' ? 'GET' : request.method
        if (method !== route.method) {
          return reply.code(405).header('allow', allowOf(route)).send()
        }
        const id = decodeId(route.rawId)
        if (id === null) throw new Refusal(400, `Invalid URL: Invalid UTF-8 in \`${route.idName}\``)
        const { ip } = request
        return handlers[route.name]({
          id,
          ip,
          traceparent: traceparentOf(request.headers),
          principal: principalOf(request),
          reply,
          body: () => readBody(request),
        })
      },
    )
    done()
  }
}

/** As bytes, since Fastify adds a character set to texts, and axum has none. */
const sendText = (reply: FastifyReply, status: number, text: string): FastifyReply =>
  reply.code(status).type('application/json').send(Buffer.from(text))

const sendJson = (reply: FastifyReply, status: number, value: object): FastifyReply =>
  sendText(reply, status, JSON.stringify(value))

/** A request to one route. */
interface Call {
  /** The id that the path names; `""` where it names none. */
  readonly id: string
  /** The peer's address, as its connection has it. */
  readonly ip: string
  readonly traceparent: string | null
  readonly principal: Principal
  readonly reply: FastifyReply
  /** @throws Refusal, JsonSyntaxError */
  readonly body: () => Json
}

const isJson = (request: FastifyRequest): boolean => JSON_TYPE.test(request.headers['content-type'] ?? '')

const unsupported = (): Refusal => new Refusal(415, 'Expected request with `Content-Type: application/json`')

function readBody(request: FastifyRequest): Json {
  if (!isJson(request)) throw unsupported()
  const bytes = request.body instanceof Buffer ? request.body : Buffer.alloc(0)
  let text: string
  try {
    text = UTF8.decode(bytes)
  } catch {
    throw new JsonSyntaxError('invalid unicode code point')
  }
  return parseJson(text)
}

/** What stands in front of an error of a body. */
const SYNTAX = 'Failed to parse the request body as JSON'
const DATA = 'Failed to deserialize the JSON body into the target type'

function toRefusal(error: unknown, request: FastifyRequest): Refusal | null {
  if (error instanceof Refusal) return error
  if (error instanceof JsonSyntaxError) return new Refusal(400, `${SYNTAX}: ${error.message}`)
  if (error instanceof DataError) return new Refusal(422, `${DATA}: ${error.message}`)
  if (error instanceof MeshError && INVALID.has(error.code)) {
    return new Refusal(422, `${DATA}: ${error.message}`)
  }
  switch ((error as { code?: unknown }).code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      // The type is looked at first.
      return isJson(request)
        ? new Refusal(413, 'Failed to buffer the request body: length limit exceeded')
        : unsupported()
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupported()
    default:
      return null
  }
}

/** Its clients are told no codes where a body is wrong; the operations API has words for the same. */
const CODES: Readonly<Record<number, string>> = {
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  422: 'invalid_body',
}

/** What an error is counted as. */
function codeOf(refusal: Refusal | null, error: unknown): string {
  if (error instanceof MeshError) return error.code
  if (refusal !== null) return CODES[refusal.status] ?? 'bad_request'
  const { statusCode } = error as { statusCode?: unknown }
  return typeof statusCode === 'number' && statusCode < 500 ? 'bad_request' : 'internal'
}

function answerError(hub: Hub, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = toRefusal(error, request)
  hub.metrics.failed(codeOf(refusal, error))
  if (refusal !== null)
    return reply.code(refusal.status).type('text/plain; charset=utf-8').send(refusal.message)
  if (error instanceof MeshError) {
    const { code, message, retryAfterMs } = error
    if (retryAfterMs !== null) void reply.header('retry-after', Math.max(1, Math.ceil(retryAfterMs / 1_000)))
    return sendJson(reply, STATUS[code] ?? 503, { error: message, code })
  }
  const { statusCode } = error as { statusCode?: unknown }
  if (typeof statusCode === 'number' && statusCode < 500) {
    return reply
      .code(statusCode)
      .type('text/plain; charset=utf-8')
      .send((error as Error).message)
  }
  hub.log.error({ err: error }, 'request failed')
  return sendJson(reply, 500, { error: 'the hub failed at this request', code: 'internal' })
}
