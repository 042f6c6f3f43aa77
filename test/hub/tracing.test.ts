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
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { ack, asker, join, nack, NLP, reconnect, send, sendRefused } from '../support/talk.ts'

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

test('a send without a trace begins one; one that is refused is an error', async () => {
  const exporter = register()
  await using hub = await startTestHub('memory')
  await using alice = await join(hub, 'alice')
  await sendRefused(alice, 'nobody', 1)
  await send(alice, 'alice', 1, { traceparent: 'no trace' })
  const [refused, stored] = named(exporter, 'meshwire send')
  expect(refused?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'unknown_target' })
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
