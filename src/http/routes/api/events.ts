import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { MeshError } from '../../../../protocol/errors.ts'
import type { Operations } from '../../../hub/operations.ts'
import { wholeNamespace } from './authorize.ts'
import { EventStream, type EventStreamOptions } from './event-stream.ts'
import { operation, type Operation } from './operation.ts'
import { API_PATH } from './refusal.ts'
import { eventPatterns, eventStream, filters, namespace, toWhere } from './schemas.ts'

/** Readers of one hub. */
const READERS_MAX = 1_000
/** Those of them that are one principal's, or without one come from one address: others are to have room as well. */
const READERS_EACH_MAX = 250
const LOOK_MS = 1_000

const DESCRIPTION = `Server-Sent Events: \`id\` is the revision, \`event\` the kind, \`data\` its JSON (schema Event). It begins with the list of the agents that match, as one or more events \`list\` (schema EventList); with \`Last-Event-ID\` it continues after that revision without a gap, or, where that is not possible any more, begins with a list that has \`"reset":true\`. An agent that stops matching is told by \`agent.updated\` with \`"matches":false\`. Events that are not stored (\`agent.heartbeat\`, \`message.dead_lettered\`) have no \`id\`. Where the hub ends, or the store does not answer, the stream ends, and an EventSource connects again.`

/** The revision after which a reader continues; null: it has nothing. What no hub gave is taken for one that is not kept any more. */
function readLastEventId(header: string | string[] | undefined): number | null {
  if (header === undefined || header === '') return null
  const revision = /^\d{1,16}$/.test(String(header)) ? Number(header) : 0
  return Number.isSafeInteger(revision) ? revision : 0
}

/** Whether an `EventSource` asks for events. */
export const isEventSource = ({ headers, routeOptions }: FastifyRequest): boolean =>
  routeOptions.url === `${API_PATH}/events` && headers.accept?.includes('text/event-stream') === true

/** The events of a namespace as they happen. */
export function events(operations: Operations, options: EventStreamOptions): readonly Operation[] {
  const streams = new Set<EventStream>()
  /** How many places there are taken, by whom: also by those who do not read yet. */
  const taken = new Map<string, number>()
  let places = 0
  let timer: NodeJS.Timeout | null = null

  operations.onDrain(() => {
    for (const stream of streams) stream.drain()
  })
  operations.onTokens(() => {
    for (const stream of streams) stream.judge()
  })

  /** Takes a place until the answer is over. @throws MeshError `rate_limited` */
  function takePlace(request: FastifyRequest, reply: FastifyReply): void {
    const whose = request.sourceKey()
    const own = taken.get(whose) ?? 0
    if (places >= READERS_MAX)
      throw new MeshError('rate_limited', `${READERS_MAX} others watch by this hub; use another one`)
    if (own >= READERS_EACH_MAX) {
      const text = `${READERS_EACH_MAX} watch by this hub for the same principal or from the same address; use another hub`
      throw new MeshError('rate_limited', text)
    }
    places++
    taken.set(whose, own + 1)
    reply.raw.once('close', () => {
      places--
      const left = (taken.get(whose) ?? 0) - 1
      if (left > 0) taken.set(whose, left)
      else taken.delete(whose)
    })
  }

  function open(reply: FastifyReply): EventStream {
    reply.hijack()
    const stream = new EventStream(reply.raw, reply.getHeaders(), options)
    // It says so once.
    if (reply.raw.closed) return stream
    streams.add(stream)
    timer ??= setInterval(() => {
      const now = Date.now()
      for (const one of streams) one.look(now)
    }, LOOK_MS)
    reply.raw.once('close', () => {
      streams.delete(stream)
      if (streams.size > 0 || timer === null) return
      clearInterval(timer)
      timer = null
    })
    return stream
  }

  return [
    operation({
      id: 'watchEvents',
      method: 'get',
      path: '/events',
      tag: 'events',
      summary: 'Watch what changes',
      description: DESCRIPTION,
      query: z.object({ namespace, events: eventPatterns, ...filters }),
      headers: { 'Last-Event-ID': 'The id of the last event that was read' },
      answer: eventStream,
      mediaType: 'text/event-stream',
      errors: ['draining'],
      async handle({ query, request, reply, authorize }) {
        const subject = wholeNamespace(query.namespace)
        const passes = [await authorize('watch', subject)]
        // Which dead letters there are is the business of who administers.
        if (query.events.includes('message.dead_lettered')) passes.push(await authorize('admin', subject))
        if (reply.raw.closed) {
          reply.hijack()
          return undefined as never
        }
        const since = readLastEventId(request.headers['last-event-id'])
        let stream: EventStream | null = null
        // Opened by what comes first, since an answer that has begun cannot tell an error.
        const opened = (): EventStream => (stream ??= open(reply))
        try {
          if (operations.draining)
            throw new MeshError('draining', 'this hub is shutting down; connect to another one')
          takePlace(request, reply)
          const watch = await operations.watch(
            query.namespace,
            { events: query.events, where: toWhere(query), since },
            {
              push: (frame) => opened().push(frame),
              get behind() {
                return stream?.behind ?? false
              },
            },
            (fields) => opened().start(fields, since !== null),
          )
          if (reply.raw.destroyed) watch.close()
          else reply.raw.once('close', () => watch.close())
          opened().follow(watch, passes)
          if (operations.draining) opened().drain()
        } catch (error) {
          // An EventSource gives up for good at any other status; it is to come back.
          const isPassing = error instanceof MeshError && error.retryable
          if (!isPassing || !isEventSource(request)) throw error
          operations.onRefusal(error)
          opened().end(`${error.code}: ${error.message}`, error.retryAfterMs ?? 1_000)
        }
        return undefined as never
      },
    }),
  ]
}
