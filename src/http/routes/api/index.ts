import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { show } from '../../../../protocol/agent.ts'
import { MeshError } from '../../../../protocol/errors.ts'
import type { Hub } from '../../../hub/hub.ts'
import { Operations } from '../../../hub/operations.ts'
import { agents } from './agents.ts'
import type { Authorize } from './authorize.ts'
import { byPrincipal, principalOf } from './by-principal.ts'
import { deadLetters } from './dead-letters.ts'
import { type ErrorAnswer, errorAnswer, sendError } from './errors.ts'
import { EventStream, type EventStreamOptions } from './event-stream.ts'
import { events, isEventSource } from './events.ts'
import { hubs } from './hubs.ts'
import { inbox } from './inbox.ts'
import { leader } from './leader.ts'
import { messages } from './messages.ts'
import { openApi } from './openapi.ts'
import { type Operation, operation } from './operation.ts'
import { queues } from './queues.ts'
import { readQuery } from './query.ts'
import { API_PATH } from './refusal.ts'

export interface ApiOptions extends Partial<EventStreamOptions> {
  /** Absent: by the principal of the request. */
  readonly authorize?: Authorize
}

const HEARTBEAT_MS = 15_000
const SLOW_MS = 10_000

const streamOptions = ({ heartbeatMs = HEARTBEAT_MS, slowMs = SLOW_MS }: ApiOptions): EventStreamOptions => ({
  heartbeatMs,
  slowMs,
})

/** Every operation of the API. */
function allOperations(
  operations: Operations,
  options: ApiOptions,
  version: string,
  isOpen: boolean,
): readonly Operation[] {
  const served: Operation[] = [
    ...agents,
    ...inbox,
    ...messages,
    ...deadLetters,
    ...queues,
    ...hubs,
    ...leader,
    ...events(operations, streamOptions(options)),
  ]
  let document: Record<string, unknown> | null = null
  served.push(
    operation({
      id: 'getOpenApi',
      method: 'get',
      path: '/openapi.json',
      tag: 'about',
      summary: 'This document',
      isPublic: true,
      answer: z.record(z.string(), z.unknown()),
      handle: () => Promise.resolve((document ??= { ...openApi(served, version, isOpen) })),
    }),
  )
  return served
}

/** Says what is wrong with a value: the field, its value, the rule. @throws MeshError `bad_frame` */
function parse(schema: z.ZodType, input: unknown, place: string): unknown {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  let value: unknown = input
  for (const key of issue?.path ?? [])
    value =
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined
  const where = issue && issue.path.length > 0 ? issue.path.join('.') : place
  const found = value === undefined ? 'missing' : show(value)
  throw new MeshError('bad_frame', `${where} is ${found}; ${issue?.message ?? 'see openapi.json'}`)
}

/** Like the payload of a frame: JSON as `JSON.parse` reads it. */
function readJson(
  _request: FastifyRequest,
  body: string | Buffer,
  done: (error: Error | null, value?: unknown) => void,
) {
  const text = body.toString()
  if (text === '') {
    done(null, undefined)
    return
  }
  try {
    done(null, JSON.parse(text))
  } catch (error) {
    done(new MeshError('bad_request', `the body is no JSON: ${(error as Error).message}`))
  }
}

/** `/agents/{agentId}` → the pattern of its URLs behind `/api/v1`. */
const patternOf = ({ path }: Operation): RegExp =>
  new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+').replaceAll('.', '\\.')}$`)

/** The operations API (docs/operations-api.md): what goes on in the mesh, and what an operator can do about it. */
export function api(hub: Hub, version: string, options: ApiOptions = {}): FastifyPluginCallback {
  const operations = new Operations(hub)
  const { authorize = byPrincipal(hub) } = options
  const served = allOperations(operations, options, version, !hub.authenticator.required)
  const onFault = (error: unknown): void => operations.onFault(error)

  /** Every error of this API is answered, and counted, here. */
  function fail(reply: FastifyReply, error: ErrorAnswer): FastifyReply {
    hub.metrics.failed(error.body.error.code)
    return sendError(reply, error)
  }

  async function answer(one: Operation, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    try {
      const call = {
        params: parse(one.params, request.params, 'the path'),
        query: parse(one.query, readQuery(request.url, one.query), 'the query'),
        body: null as unknown,
        operations,
        request,
        reply,
        authorize: async (...[verb, subject]: [Parameters<Authorize>[1], Parameters<Authorize>[2]]) =>
          authorize(request, verb, subject),
      }
      if (one.body) {
        try {
          call.body = parse(one.body, request.body, 'the body')
        } catch (error) {
          return fail(reply, errorAnswer(error, true, onFault))
        }
      }
      const result = await one.handle(call as never)
      if (reply.sent) return reply
      void reply.code(one.status)
      return result === undefined ? reply.send() : reply.send(result)
    } catch (error) {
      if (reply.sent) throw error
      return fail(reply, errorAnswer(error, one.body !== null, onFault))
    }
  }

  function add(app: FastifyInstance, one: Operation): void {
    app.route({
      method: one.method.toUpperCase(),
      url: one.path.replace(/\{(\w+)\}/g, ':$1'),
      // A stream has no head of its own.
      config: { isPublic: one.isPublic ?? false },
      exposeHeadRoute: one.method === 'get' && one.mediaType === undefined,
      handler: (request, reply) => answer(one, request, reply),
    })
  }

  return (app, _options, done) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser(
      'application/json',
      { parseAs: 'string', bodyLimit: hub.settings.maxMessageBytes },
      readJson,
    )
    // Who nobody knows is told nothing but what the API is, and nothing of what he sent is read.
    app.addHook('onRequest', async (request) => {
      if (request.routeOptions.config.isPublic === true) return
      try {
        request.principalKey = (await principalOf(hub, request)).subject
      } catch (error) {
        request.takeRate()
        throw error
      }
    })
    app.setErrorHandler((error, request, reply) => {
      if (!(error instanceof MeshError) || !error.retryable || !isEventSource(request))
        return fail(reply, errorAnswer(error, false, onFault))
      hub.metrics.failed(error.code)
      reply.hijack()
      const stream = new EventStream(reply.raw, reply.getHeaders(), streamOptions(options))
      stream.end(`${error.code}: ${error.message}`, error.retryAfterMs ?? 1_000)
      return reply
    })
    app.setNotFoundHandler((request, reply) => fail(reply, notFound(served, request, reply)))
    for (const one of served) add(app, one)
    done()
  }
}

function notFound(served: readonly Operation[], request: FastifyRequest, reply: FastifyReply) {
  const [url = ''] = request.url.split('?')
  const path = url.slice(API_PATH.length)
  const methods = served.filter((one) => patternOf(one).test(path)).map(({ method }) => method.toUpperCase())
  const tell = (code: string, message: string) =>
    errorAnswer(new MeshError(code, message), false, () => undefined)
  if (methods.length === 0) return tell('not_found', `there is no ${show(url)}`)
  void reply.header('allow', [...new Set(methods)].join(', '))
  return tell('method_not_allowed', `${show(url)} takes ${methods.join(' and ')}, not ${request.method}`)
}
