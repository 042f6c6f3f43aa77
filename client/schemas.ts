import { MeshError } from '../protocol/errors.ts'
import type { Message } from '../protocol/pushes.ts'
import { badFrame, handled, toError } from './errors.ts'
import type { Handler } from './message.ts'
import { Nack } from './nack.ts'
import type { SchemaIssue, SchemaResult, Schemas, StandardSchema } from './standard-schema.ts'
import type { Incident } from './status.ts'
import type { StreamReader } from './stream-reader.ts'

export type Part = 'payload' | 'reply'

/** Gives a message up whose payload is against its schema. */
class Invalid extends Nack {
  declare readonly issues: readonly SchemaIssue[]

  constructor(reason: string, issues: readonly SchemaIssue[]) {
    super(reason, { requeue: false })
    this.issues = issues
  }
}

function textOf({ message, path = [] }: SchemaIssue): string {
  const keys = path.map((step) => String(typeof step === 'object' ? step.key : step))
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
}

/** What a client tells of what its handlers threw: where a message was refused, no handler has seen it. */
export function told(incident: Incident): Incident {
  if (incident.type !== 'handler_failed' || !(incident.error instanceof Invalid)) return incident
  return { type: 'invalid_payload', message: incident.message, issues: incident.error.issues }
}

/** What comes and goes is judged by the schemas of its message type; what has none passes as it is. */
export interface Validation {
  /** Settles when the last send that is not known to be right has been judged, and all before it. */
  readonly idle: Promise<unknown> | undefined
  /**
   * What the schema makes of a value; a promise where it takes its time.
   * @throws MeshError `bad_frame` with the issues as `details`, or, of what came, a Nack; without details where the schema threw
   */
  check(part: Part, type: string, value: unknown, came?: boolean): unknown
  /** Calls `go` once `checked` is known to be right, in the order of the calls. */
  inOrder<Result>(checked: unknown, go: () => Promise<Result>): Promise<Result>
  /** A handler that gets only what is right. At once where its schema can: in a browser that is when its requests are known as its own. */
  handler(handler: Handler): Handler
  /** The reply to what was asked by a message of that type. */
  reply(type: string, reply: Promise<Message>): Promise<Message>
  /** What a handler yields as the answer to a message of that type, as far as it is right. */
  chunks(type: string, values: AsyncIterable<unknown>): AsyncIterable<unknown>
  /** The reader of an answer to a message of that type, which is left at the first chunk that is not right. */
  reader(type: string, reader: StreamReader): StreamReader
}

export function createValidation(schemas: Schemas): Validation {
  let idle: Promise<unknown> | undefined

  function find(part: Part, type: string): StandardSchema | undefined {
    const given = Object.hasOwn(schemas, type) ? schemas[type] : undefined
    if (!given || !('~standard' in given)) return given?.[part]
    return part === 'payload' ? given : undefined
  }

  function check(part: Part, type: string, value: unknown, came = false): unknown {
    const schema = find(part, type)
    if (!schema) return value
    const what = `the ${part} of "${type}"`
    const judge = (result: SchemaResult<unknown>): unknown => {
      if (!result.issues) return result.value
      const { issues } = result
      const reason = `${what} is invalid: ${issues.slice(0, 1).map(textOf).join('')}`
      throw came ? new Invalid(reason, issues) : badFrame(reason, issues)
    }
    const failed = (cause: unknown): never => {
      const reason = `the schema for ${what} failed: ${toError(cause).message}`
      throw new MeshError('bad_frame', reason, { cause })
    }
    let result: SchemaResult<unknown> | Promise<SchemaResult<unknown>>
    try {
      result = schema['~standard'].validate(value)
    } catch (error) {
      return failed(error)
    }
    return 'then' in result ? Promise.resolve(result).then(judge, failed) : judge(result)
  }

  function each<Chunks extends AsyncIterator<unknown>>(type: string, chunks: Chunks, came: boolean): Chunks {
    if (!find('reply', type)) return chunks
    const next = chunks.next.bind(chunks)
    chunks.next = async () => {
      const step = await next()
      if (step.done) return step
      try {
        const value = await check('reply', type, step.value)
        return came ? { done: false, value } : step
      } catch (error) {
        if (came) await chunks.return?.()
        throw error
      }
    }
    return chunks
  }

  return {
    get idle() {
      return idle
    },
    check,
    inOrder(checked, go) {
      if (!idle && !(checked instanceof Promise)) return go()
      const turn = Promise.allSettled([checked, idle])
      idle = turn
      return turn.then(([judged]) => {
        if (idle === turn) idle = undefined
        if (judged.status === 'rejected') throw judged.reason
        return go()
      })
    },
    handler: (handler) => (message, context) => {
      const payload = check('payload', message.messageType, message.payload, true)
      const go = (value: unknown): unknown => handler({ ...message, payload: value }, context)
      return payload instanceof Promise ? payload.then(go) : go(payload)
    },
    reply(type, reply) {
      if (!find('reply', type)) return reply
      return handled(
        reply.then(async (message) => ({ ...message, payload: await check('reply', type, message.payload) })),
      )
    },
    chunks: (type, values) => ({
      [Symbol.asyncIterator]: () => each(type, values[Symbol.asyncIterator](), false),
    }),
    reader: (type, reader) => each(type, reader, true),
  }
}
