import type { IncomingHttpHeaders } from 'node:http'

/** Of any version (W3C Trace Context): those to come may have more at the end. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{0,200})?$/

/** The trace that a request belongs to, as instrumented clients tell it; null where there is none, or what stands there is not one. */
export const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | null =>
  typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : null
