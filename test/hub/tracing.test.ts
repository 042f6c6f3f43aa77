import { readFileSync } from 'node:fs'
import { type Context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { connect } from '../../client/node.ts'
import { Api, json } from '../support/api.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { ROOT } from '../support/run.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { ack, asker, join, nack, NLP, reconnect, send, sendRefused } from '../support/talk.ts'

const tracingPage = readFileSync(`${ROOT}/docs/tracing.md`, 'utf8')

const GIVEN = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const UNSAMPLED = GIVEN.replace(/01$/, '00')

/** From now until the end of the test there is a tracer provider; what it has recorded. */
function register(sampler?: Sampler): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  const spanProcessors = [new SimpleSpanProcessor(exporter)]
  const provider = new BasicTracerProvider(sampler ? { sampler, spanProcessors } : { spanProcessors })
  trace.setGlobalTracerProvider(provider)
  onTestFinished(() => provider.shutdown())
  return exporter
}

afterEach(() => {
  trace.disable()
  propagation.disable()
})

const named = (exporter: InMemorySpanExporter, name: string): ReadableSpan[] =>
  exporter.getFinishedSpans().filter((span) => span.name === name)

const nameOf = (span: ReadableSpan | undefined): string => {
  const { traceId = '', spanId = '' } = span?.spanContext() ?? {}
  return `00-${traceId}-${spanId}-01`
}

describe.each(CORES)('with a tracer provider, on %s', (core) => {
  test('a message has a span for its sending and one for its delivery, below that of its sender', async () => {
    const exporter = register()
    await using mesh = await startMesh(core, 2)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(1), 'bob')
    const { id } = await send(alice, 'bob', 1, { traceparent: GIVEN })
    const message = await bob.next('message')
    const [sending] = named(exporter, 'meshwire send')
    expect(sending?.kind).toBe(SpanKind.PRODUCER)
    expect(sending?.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
    expect(message.traceparent).toBe(nameOf(sending))
    expect(message.traceparent).toContain('0af7651916cd43dd8448eb211c80319c')
    expect(named(exporter, 'meshwire deliver')).toEqual([])
    ack(bob, message)
    await bob.roundTrip()
    const [delivery] = named(exporter, 'meshwire deliver')
    expect(delivery?.kind).toBe(SpanKind.CONSUMER)
    expect(delivery?.parentSpanContext?.spanId).toBe(sending?.spanContext().spanId)
    expect(delivery?.status.code).toBe(SpanStatusCode.UNSET)
    expect(delivery?.attributes).toMatchObject({
      'messaging.system': 'meshwire',
      'messaging.message.id': id,
      'meshwire.agent': 'bob',
      'meshwire.attempt': 1,
    })
  })

  test('work and broadcasts have them too, and what is given back says so', async () => {
    const exporter = register()
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice', asker)
    await using bob = await join(hub, 'bob')
    await send(alice, NLP, 1, { traceparent: GIVEN })
    nack(bob, await bob.next('message'))
    ack(bob, await bob.next('message'))
    await send(alice, { all: true }, 1, { traceparent: GIVEN })
    ack(bob, await bob.next('message'))
    await bob.roundTrip()
    expect(
      named(exporter, 'meshwire deliver').map(({ attributes, status }) => [
        attributes['meshwire.kind'],
        attributes['meshwire.attempt'],
        status.message,
      ]),
    ).toEqual([
      ['queue', 1, 'rejected'],
      ['queue', 2, undefined],
      ['broadcast', 1, undefined],
    ])
  })
})

describe.each(CORES)('what is sent over HTTP, on %s', (core) => {
  const header = { traceparent: GIVEN }

  test('by the operations API belongs to the trace of its body, or of its request', async () => {
    const exporter = register()
    await using hub = await startTestHub(core)
    await using bob = await join(hub, 'bob')
    const api = new Api(hub)
    const post = async (to: object, more: object, headers = {}) => {
      const { headers: type, body } = json({ to, messageType: 'notification', ...more })
      const init = { body: body ?? null, headers: { ...(type as object), ...headers } }
      return (await api.request('POST', '/messages', init)).status
    }
    expect(await post({ agent: 'bob' }, { traceparent: GIVEN }, { traceparent: UNSAMPLED })).toBe(202)
    expect(await post(NLP, {}, header)).toBe(202)
    expect(await post({ all: true }, {}, header)).toBe(202)
    expect(await post({ agent: 'nobody' }, {}, header)).toBe(404)
    expect(await post({ agent: 'bob' }, {}, { traceparent: 'no trace' })).toBe(202)
    const messages = [await bob.next('message'), await bob.next('message'), await bob.next('message')]
    messages.push(await bob.next('message'))
    for (const message of messages) ack(bob, message)
    await bob.roundTrip()
    const sends = named(exporter, 'meshwire send')
    expect(sends.map(({ attributes, status }) => [attributes['meshwire.via'], status.message])).toEqual([
      ['direct', undefined],
      ['queue', undefined],
      ['broadcast', undefined],
      ['direct', 'unknown_target'],
      ['direct', undefined],
    ])
    const ours = '0af7651916cd43dd8448eb211c80319c b7ad6b7169203331'
    const parents = sends.map((span) => `${span.spanContext().traceId} ${span.parentSpanContext?.spanId}`)
    expect(parents.slice(0, 4)).toEqual([ours, ours, ours, ours])
    expect(parents[4]).toMatch(/ undefined$/)
    expect(new Set(messages.map(({ traceparent }) => traceparent))).toEqual(
      new Set([0, 1, 2, 4].map((index) => nameOf(sends[index]))),
    )
    expect(
      named(exporter, 'meshwire deliver').map(({ parentSpanContext }) => parentSpanContext?.spanId),
    ).toEqual(expect.arrayContaining([0, 1, 2, 4].map((index) => sends[index]?.spanContext().spanId)))
  })

  test('by a member belongs to the trace of its request', async () => {
    const exporter = register()
    await using hub = await startTestHub(core)
    await using bob = await join(hub, 'bob')
    const member = new MeshClient(hub, header)
    await member.register('m1')
    await member.send('m1', 'bob', { traceparent: 'of the payload' })
    await expect(member.send('m1', 'nobody')).rejects.toThrow('400')
    await member.send('m1', null)
    const message = await bob.next('message')
    const [sending, refused, all] = named(exporter, 'meshwire send')
    expect(message.traceparent).toBe(nameOf(sending))
    expect(sending?.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
    expect(sending?.attributes).toMatchObject({ 'meshwire.from': 'm1', 'meshwire.via': 'direct' })
    expect(refused?.status.message).toBe('unknown_target')
    expect((await bob.next('message')).traceparent).toBe(nameOf(all))
  })

  test('without a provider passes the trace of the request on as it is', async () => {
    await using hub = await startTestHub(core)
    await using bob = await join(hub, 'bob')
    const member = new MeshClient(hub, header)
    await member.register('m1')
    await member.send('m1', 'bob')
    expect((await bob.next('message')).traceparent).toBe(GIVEN)
    const plain = new MeshClient(hub)
    await plain.send('m1', 'bob')
    expect(await bob.next('message')).not.toHaveProperty('traceparent')
  })
})

test('a send without a trace begins one; one that is refused is an error', async () => {
  const exporter = register()
  await using hub = await startTestHub('memory')
  await using alice = await join(hub, 'alice')
  await sendRefused(alice, 'nobody', 1)
  await send(alice, 'alice', 1, { traceparent: 'no trace' })
  const [refused, stored] = named(exporter, 'meshwire send')
  expect(refused?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'unknown_target' })
  const common = [
    'meshwire.from',
    'meshwire.namespace',
    'meshwire.via',
    'messaging.message.id',
    'messaging.operation.name',
    'messaging.operation.type',
    'messaging.system',
  ]
  expect(Object.keys(refused?.attributes ?? {}).toSorted()).toEqual(['error.type', ...common])
  for (const name of ['error.type', ...common, 'meshwire.agent', 'meshwire.kind', 'meshwire.attempt'])
    expect(tracingPage).toContain(`\`${name}\``)
  expect(stored?.parentSpanContext).toBeUndefined()
  expect((await alice.next('message')).traceparent).toBe(nameOf(stored))
})

test('a delivery that its client does not live to acknowledge ends with the session', async () => {
  const exporter = register()
  await using hub = await startTestHub('memory')
  await using alice = await join(hub, 'alice', asker)
  const bob = await join(hub, 'bob')
  await send(alice, 'bob', 1)
  await bob.next('message')
  await bob.cut()
  await using again = await reconnect(hub, bob)
  ack(again, await again.next('message'))
  await again.roundTrip()
  expect(named(exporter, 'meshwire deliver').map(({ status }) => status.message)).toEqual([
    'disconnected',
    undefined,
  ])
})

test.each([
  ['the sampler leaves the message out', () => register(new AlwaysOffSampler()), GIVEN],
  ['the trace is not sampled', () => register(), UNSAMPLED],
  ['no tracer provider is registered', () => new InMemorySpanExporter(), GIVEN],
])('where %s, its trace is passed on as it is', async (_why, start, traceparent) => {
  const exporter = start()
  await using hub = await startTestHub('memory')
  await using alice = await join(hub, 'alice')
  await send(alice, 'alice', 1, { traceparent })
  const message = await alice.next('message')
  expect(message.traceparent).toBe(traceparent)
  ack(alice, message)
  await send(alice, 'alice', { traceparent: GIVEN }, { traceparent })
  await alice.next('message')
  await alice.roundTrip()
  expect(exporter.getFinishedSpans()).toEqual([])
})

test('a trace goes through client, hub, handler and reply, as docs/tracing.md shows', async () => {
  const exporter = register()
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  const tracer = trace.getTracer('app')
  await using hub = await startTestHub('memory')
  const planner = await connect({ url: hub.url, name: 'planner', capabilities: ['planning'] })
  const writer = await connect({ url: hub.url, name: 'writer', capabilities: ['writing'] })
  const traceOf = (context: Context): { traceparent?: string } => {
    const carrier: { traceparent?: string } = {}
    propagation.inject(context, carrier)
    return carrier
  }
  writer.onMessage((message) => {
    const span = tracer.startSpan(
      'write',
      { kind: SpanKind.CONSUMER },
      propagation.extract(ROOT_CONTEXT, message),
    )
    span.end()
    return 'written'
  })
  const asking = tracer.startSpan('ask')
  const reply = await planner.request(
    { name: 'writer' },
    'a story',
    traceOf(trace.setSpan(ROOT_CONTEXT, asking)),
  )
  asking.end()
  expect(reply.payload).toBe('written')
  const [traceId] = [asking.spanContext().traceId]
  const spans = exporter.getFinishedSpans()
  expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]))
  const sends = named(exporter, 'meshwire send')
  expect(sends).toHaveLength(2)
  expect(named(exporter, 'write')[0]?.parentSpanContext?.spanId).toBe(sends[0]?.spanContext().spanId)
  await Promise.all([planner.close(), writer.close()])
})
