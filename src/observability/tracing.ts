import {
  type Attributes,
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api'
import { MeshError } from '../../protocol/errors.ts'

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** The context that a message's `traceparent` names (W3C Trace Context, version 00); null where it is none. */
function contextOf(traceparent: string): Context | null {
  const [, traceId = '', spanId = '', flags = ''] = TRACEPARENT.exec(traceparent) ?? []
  const spanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(spanContext) ? trace.setSpanContext(ROOT_CONTEXT, spanContext) : null
}

/** A span that is recorded. */
export class Traced {
  readonly #span: Span

  constructor(span: Span) {
    this.#span = span
  }

  /** What names it as a parent. */
  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext()
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
  }

  /** @param error why it failed; null: it did not */
  end(error: string | null): void {
    if (error !== null) {
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error })
      this.#span.setAttribute('error.type', error)
    }
    this.#span.end()
  }
}

/** Does what a span is of, and ends it; where `work` rejects, as failed, by the code of the error. */
export async function within<T>(span: Traced | null, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work()
    span?.end(null)
    return result
  } catch (error) {
    span?.end(error instanceof MeshError ? error.code : 'internal')
    throw error
  }
}

/** A message that a hub has taken. */
export interface Sent {
  readonly id: string
  readonly namespace: string
  /** Its sender. */
  readonly from: string
  readonly via: string
}

/** Spans of what a hub does with messages, for whatever SDK has registered a tracer provider. */
export class Tracing {
  readonly #tracer: Tracer

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  /**
   * The hub has taken a message: from now until its sender is answered. Null where the sampler leaves it out: then the sender's
   * `traceparent` goes on as it is.
   */
  send(traceparent: string | null, { id, namespace, from, via }: Sent): Traced | null {
    const parent = traceparent === null ? null : contextOf(traceparent)
    return this.#start('meshwire send', SpanKind.PRODUCER, parent ?? ROOT_CONTEXT, {
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.message.id': id,
      'meshwire.namespace': namespace,
      'meshwire.from': from,
      'meshwire.via': via,
    })
  }

  /** A message is pushed: from now until it is acknowledged. Null where nobody traces the message. */
  deliver(traceparent: string, attributes: Attributes): Traced | null {
    const parent = contextOf(traceparent)
    const flags = parent === null ? 0 : (trace.getSpanContext(parent)?.traceFlags ?? 0)
    if (parent === null || (flags & TraceFlags.SAMPLED) === 0) return null
    return this.#start('meshwire deliver', SpanKind.CONSUMER, parent, attributes)
  }

  #start(name: string, kind: SpanKind, parent: Context, attributes: Attributes): Traced | null {
    const options = { kind, attributes: { 'messaging.system': 'meshwire', ...attributes } }
    const span = this.#tracer.startSpan(name, options, parent)
    return span.isRecording() ? new Traced(span) : null
  }
}

/** Spans for the tracer provider that is registered now; null where none is: then tracing costs nothing. */
export function openTracing(version: string): Tracing | null {
  const provider: TracerProvider & {
    /** Of the API's own stand-in: undefined until somebody registers one. */
    getDelegateTracer?: (name: string, version: string) => Tracer | undefined
  } = trace.getTracerProvider()
  const tracer = provider.getDelegateTracer
    ? provider.getDelegateTracer('meshwire', version)
    : provider.getTracer('meshwire', version)
  return tracer === undefined ? null : new Tracing(tracer)
}
