import { z } from 'zod'
import { type ApiErrorCode, statusOf } from './errors.ts'
import type { Operation } from './operation.ts'
import { schemaKind } from './query.ts'
import { API_PATH } from './refusal.ts'
import { errorBody, eventData, listData } from './schemas.ts'

type Json = Readonly<Record<string, unknown>>

/** What any operation may meet. */
const COMMON: readonly ApiErrorCode[] = [
  'bad_request',
  'unauthorized',
  'forbidden',
  'rate_limited',
  'internal',
  'store_unavailable',
]
const OF_BODIES: readonly ApiErrorCode[] = ['payload_too_large', 'unsupported_media_type', 'invalid_body']

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'Done',
  202: 'Stored',
  204: 'Done',
  400: 'The request is wrong',
  401: 'The token is missing or not accepted',
  403: 'Not allowed',
  404: 'There is no such thing',
  409: 'The mesh is not in a state for this',
  413: 'The body is too large',
  415: 'The body is not JSON',
  422: 'A value of the body is wrong',
  429: 'Too much; Retry-After says when to try again',
  500: 'The hub failed',
  503: 'The store does not answer, the keys that tokens are signed with cannot be had, or this hub is shutting down; Retry-After says when to try again',
}

/** A schema as JSON Schema: those that have an id as components, which are added to `components`. */
function toJson(schema: z.core.$ZodType, io: 'input' | 'output', components: Map<string, Json>): Json {
  const {
    $schema: _,
    $defs,
    ...json
  } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // Later versions may have more fields.
      if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
      delete jsonSchema['deep']
    },
  }) as Record<string, unknown>
  const pointed = (value: Json): Json =>
    JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json
  for (const [id, definition] of Object.entries(($defs ?? {}) as Record<string, Json>)) {
    const { id: __, ...rest } = definition
    components.set(id, pointed(rest))
  }
  const { id, ...rest } = json
  if (typeof id !== 'string') return pointed(json)
  components.set(id, pointed(rest))
  return { $ref: `#/components/schemas/${id}` }
}

function parameters(operation: Operation, components: Map<string, Json>): Json[] {
  const found: Json[] = []
  for (const [place, schema] of [
    ['path', operation.params],
    ['query', operation.query],
  ] as const) {
    for (const [name, field] of Object.entries(schema.shape)) {
      const { description, default: preset, ...json } = withoutNull(toJson(field, 'output', components))
      const kind = schemaKind(field)
      found.push({
        name,
        in: place,
        required: !z.safeParse(field, undefined).success,
        ...(description !== undefined && { description }),
        ...(kind === 'list' && { style: 'form', explode: true }),
        ...(kind === 'map' && { style: 'deepObject', explode: true }),
        schema: preset === undefined ? json : { ...json, default: preset },
      })
    }
  }
  for (const [name, description] of Object.entries(operation.headers ?? {}))
    found.push({ name, in: 'header', required: false, description, schema: { type: 'string' } })
  return found
}

/** A parameter cannot be null. */
function withoutNull({ anyOf, ...json }: Json): Json {
  if (!Array.isArray(anyOf)) return json
  const [only, ...more] = (anyOf as Json[]).filter(({ type }) => type !== 'null')
  return more.length === 0 ? { ...json, ...only } : { ...json, anyOf: [only, ...more] }
}

const HEADERS: Readonly<Record<number, Json>> = {
  401: { 'WWW-Authenticate': { description: 'Bearer', schema: { type: 'string' } } },
  429: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer', minimum: 1 } } },
  503: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer', minimum: 1 } } },
}

/** Either way to show a token. */
const SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description:
      'A token of the hub. Its permissions are those of frames: discover lists and gets agents and the leader, send and broadcast send, register sends from an id of its own, watch reads events, admin does all else.',
  },
  basic: {
    type: 'http',
    scheme: 'basic',
    description: 'The same token as user name, without a password.',
  },
} as const

function responses(operation: Operation, error: Json, components: Map<string, Json>): Json {
  const { answer, status, mediaType = 'application/json' } = operation
  const byStatus: Record<string, unknown> = {
    [status]: {
      description: STATUS_TEXT[status],
      ...(answer && { content: { [mediaType]: { schema: toJson(answer, 'output', components) } } }),
    },
  }
  const codes = [...COMMON, ...(operation.body ? OF_BODIES : []), ...operation.errors]
  for (const one of [...new Set(codes.map(statusOf))].toSorted((a, b) => a - b)) {
    const here = [...new Set(codes.filter((code) => statusOf(code) === one))]
    byStatus[one] = {
      description: `${STATUS_TEXT[one]} (${here.join(', ')})`,
      ...(HEADERS[one] && { headers: HEADERS[one] }),
      content: { 'application/json': { schema: error } },
    }
  }
  return byStatus
}

/**
 * The OpenAPI 3.1 document of these operations, made of the schemas that judge requests and type answers.
 * @param isOpen whether requests need no token
 */
export function openApi(operations: readonly Operation[], version: string, isOpen: boolean): Json {
  const components = new Map<string, Json>()
  const error = toJson(errorBody, 'output', components)
  const paths: Record<string, Record<string, Json>> = {}
  for (const operation of operations) {
    const { id, method, path, tag, summary, description, body, isPublic = false } = operation
    const item = (paths[API_PATH + path] ??= {})
    item[method] = {
      operationId: id,
      tags: [tag],
      summary,
      ...(description !== undefined && { description }),
      ...(isPublic && { security: [] }),
      parameters: parameters(operation, components),
      ...(body && {
        requestBody: {
          required: true,
          content: { 'application/json': { schema: toJson(body, 'input', components) } },
        },
      }),
      responses: responses(operation, error, components),
    }
  }
  // What events carry: of the answer, which is a text, only contentSchema speaks of it.
  toJson(eventData, 'output', components)
  toJson(listData, 'output', components)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Meshwire operations API',
      version,
      description:
        'What goes on in a mesh, and what an operator can do about it. Any hub of a mesh answers alike.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The hub that this document is from' }],
    security: [...(isOpen ? [{}] : []), { bearer: [] }, { basic: [] }],
    paths,
    components: {
      securitySchemes: SCHEMES,
      schemas: Object.fromEntries([...components].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  }
}
