import * as z from 'zod/mini'
import { LIMITS } from './limits.ts'
import { MESSAGE_TYPE_PATTERN } from './message.ts'
import { isWellFormed } from './text.ts'

/**
 * Client → hub: one schema a command, in the order of PROTOCOL.md. A schema holds the JSON types and the bounds whose breach
 * is `bad_frame`; what an agent may be called is judged in agent.ts. Unknown fields are dropped, `null` equals absent.
 */
const text = z.string().check(z.maxLength(LIMITS.stringChars))
/** What the store keeps as text of its own, not inside a message. */
const wellFormed = z.refine<string>(isWellFormed, 'must be well-formed Unicode: no half of a surrogate pair')
const target = z.string().check(z.minLength(1), z.maxLength(LIMITS.targetMaxChars))
const integer = (min: number, max: number) => z.int().check(z.minimum(min), z.maximum(max))
const ref = z.union([z.int(), text])
/** Not z.array, which would tell of each of half a million items that are wrong: of the first alone. */
const strings = z.custom<readonly string[]>(Array.isArray, 'Invalid input: expected array').check((given) => {
  const at = given.value.findIndex((item: unknown) => typeof item !== 'string')
  if (at < 0) return
  given.issues.push({
    code: 'custom',
    message: 'Invalid input: expected string',
    path: [at],
    input: given.value,
  })
})
/** Arrays and objects that are longer are looked at no further: what comes behind it would tell of each of their entries. */
const within = (max: number, message: string) =>
  z.custom((value) => {
    if (typeof value !== 'object' || value === null) return true
    return (Array.isArray(value) ? value.length : Object.keys(value).length) <= max
  }, message)
const list = <Item extends z.ZodMiniType>(item: Item, max: number, min = 0) =>
  z.pipe(within(max, `Too big: expected array to have <=${max} items`), z.array(item).check(z.minLength(min)))
/** Not z.record, which drops a key `__proto__`: that has to be refused, and in a filter to match nothing. */
const stringMap = z.custom<Record<string, string>>(isStringMap, 'must be an object of strings')
const metrics = z.pipe(
  within(LIMITS.metricsMaxKeys, `at most ${LIMITS.metricsMaxKeys} metrics`),
  z.record(text, z.number()),
)
const ids = list(text, LIMITS.idsMax)
/** A revision, term or fence: a positive integer that a double holds exactly. */
const revision = integer(0, Number.MAX_SAFE_INTEGER)

function isStringMap(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((one) => typeof one === 'string')
}

const agentFields = {
  capabilities: z.nullish(strings),
  version: z.nullish(z.string()),
  profiles: z.nullish(strings),
  groups: z.nullish(strings),
  address: z.nullish(z.string()),
  metadata: z.nullish(stringMap),
  concurrency: z.nullish(z.int()),
  leaderEligible: z.nullish(z.boolean()),
}
const token = z.string().check(z.maxLength(16_384))
const ownStatus = z.nullish(z.enum(['online', 'degraded']))

export const helloSchema = z.object({
  type: z.literal('hello'),
  ref,
  protocol: z.int(),
  token: z.nullish(token),
  namespace: z.nullish(z.string().check(z.regex(/^[a-z0-9-]{1,64}$/, '1 to 64 of a-z 0-9 -'))),
  producer: z.nullish(z.string().check(z.regex(/^[A-Za-z0-9._:-]{1,64}$/, '1 to 64 of A-Z a-z 0-9 . _ : -'))),
  session: z.nullish(text),
  window: z.nullish(integer(1, LIMITS.windowMax)),
  agent: z.nullish(
    z.object({
      id: z.nullish(z.string()),
      name: z.nullish(z.string()),
      ...agentFields,
      ephemeral: z.nullish(z.boolean()),
    }),
  ),
})

export const authSchema = z.object({ type: z.literal('auth'), ref, token })

export const byeSchema = z.object({ type: z.literal('bye'), ref, keep: z.nullish(z.boolean()) })

export const targetSchema = z.object({
  agent: z.nullish(target),
  name: z.nullish(target),
  leader: z.nullish(z.literal(true)),
  capability: z.nullish(target.check(wellFormed)),
  mode: z.nullish(z.enum(['one', 'all'])),
  group: z.nullish(target.check(wellFormed)),
  all: z.nullish(z.literal(true)),
})

export const sendSchema = z.object({
  type: z.literal('send'),
  ref,
  seq: z.nullish(integer(1, Number.MAX_SAFE_INTEGER)),
  to: targetSchema,
  messageType: z.string().check(z.regex(MESSAGE_TYPE_PATTERN, '1 to 64 of a-z 0-9 _ . -')),
  payload: z.unknown(),
  correlationId: z.nullish(text),
  ttlMs: z.nullish(integer(1, LIMITS.durationMaxMs)),
  durability: z.nullish(z.enum(['stored', 'transient'])),
  receipt: z.nullish(z.union([z.boolean(), z.literal('failure')])),
  echo: z.nullish(z.boolean()),
  ifNone: z.nullish(z.enum(['keep', 'fail'])),
  asLeader: z.nullish(revision),
  traceparent: z.nullish(text),
})

export const ackSchema = z.object({ type: z.literal('ack'), ids })

export const nackSchema = z.object({
  type: z.literal('nack'),
  id: text,
  requeue: z.nullish(z.boolean()),
  delayMs: z.nullish(integer(0, LIMITS.durationMaxMs)),
  reason: z.nullish(text),
})

export const progressSchema = z.object({ type: z.literal('progress'), ids })

export const pingSchema = z.object({ type: z.literal('ping') })

export const pongSchema = z.object({
  type: z.literal('pong'),
  status: ownStatus,
  statusReason: z.nullish(text.check(wellFormed)),
  metrics: z.nullish(metrics),
})

export const whereSchema = z.object({
  capabilities: z.nullish(
    z.object({
      all: z.nullish(list(target, LIMITS.listMax)),
      any: z.nullish(list(target, LIMITS.listMax)),
    }),
  ),
  status: z.nullish(list(z.enum(['online', 'degraded', 'offline']), 3)),
  name: z.nullish(target),
  group: z.nullish(target),
  version: z.nullish(text),
  metadata: z.nullish(
    stringMap.check(z.refine((map) => Object.keys(map).length <= LIMITS.metadataMaxKeys, 'too many keys')),
  ),
})

export const discoverSchema = z.object({
  type: z.literal('discover'),
  ref,
  where: z.nullish(whereSchema),
  limit: z.nullish(integer(1, LIMITS.discoverLimitMax)),
  cursor: z.nullish(z.string().check(z.maxLength(1024))),
})

export const updateSchema = z.object({
  type: z.literal('update'),
  ref,
  status: ownStatus,
  statusReason: z.nullish(text.check(wellFormed)),
  ...agentFields,
  metrics: z.nullish(metrics),
})

export const leaderSchema = z.object({ type: z.literal('leader'), ref })

/** What `subscribe` may ask for: a kind of event, or `agent.*` for the four kinds that make revisions. */
export const EVENT_PATTERNS = [
  'agent.*',
  'agent.registered',
  'agent.updated',
  'agent.status_changed',
  'agent.unregistered',
  'agent.heartbeat',
  'leader.changed',
  'message.dead_lettered',
] as const

export const subscribeSchema = z.object({
  type: z.literal('subscribe'),
  ref,
  events: z.nullish(list(z.enum(EVENT_PATTERNS), EVENT_PATTERNS.length, 1)),
  where: z.nullish(whereSchema),
  since: z.nullish(revision),
})

export const unsubscribeSchema = z.object({ type: z.literal('unsubscribe'), ref, subscription: text })

export const STREAM_ID_PATTERN = /^[A-Za-z0-9._:-]{1,64}$/
const streamId = z.string().check(z.regex(STREAM_ID_PATTERN, '1 to 64 of A-Z a-z 0-9 . _ : -'))

export const streamOpenSchema = z.object({
  type: z.literal('stream.open'),
  ref,
  stream: streamId,
  to: z.object({ agent: target }),
  correlationId: z.nullish(text),
})

export const streamCreditSchema = z.object({
  type: z.literal('stream.credit'),
  stream: streamId,
  credit: integer(1, LIMITS.streamCreditMax),
})

export const streamChunkSchema = z.object({
  type: z.literal('stream.chunk'),
  stream: streamId,
  seq: integer(0, Number.MAX_SAFE_INTEGER),
  payload: z.unknown(),
})

export const streamEndSchema = z.object({
  type: z.literal('stream.end'),
  stream: streamId,
  error: z.nullish(z.object({ code: text, message: z.string().check(z.maxLength(LIMITS.streamErrorChars)) })),
})

export const streamCancelSchema = z.object({
  type: z.literal('stream.cancel'),
  stream: streamId,
  reason: z.nullish(text),
})

const positions = list(text, LIMITS.idsMax, 1)
/**
 * Which dead letters: those that match every field given. The one place where an unknown field is refused: ignored, a misspelt
 * one would mean all of them.
 */
export const deadWhereSchema = z.strictObject({
  agentId: z.nullish(target),
  capability: z.nullish(target),
  from: z.nullish(target),
  messageId: z.nullish(text),
  messageType: z.nullish(text),
  reason: z.nullish(text),
})
const deadWhere = z.pipe(within(LIMITS.listMax, 'too many fields'), deadWhereSchema)

export const deadLettersListSchema = z.object({
  type: z.literal('dead-letters.list'),
  ref,
  where: z.nullish(deadWhere),
  payload: z.nullish(z.boolean()),
  limit: z.nullish(integer(1, LIMITS.discoverLimitMax)),
  cursor: z.nullish(text),
})

export const deadLettersRedriveSchema = z.object({
  type: z.literal('dead-letters.redrive'),
  ref,
  positions: z.nullish(positions),
  where: z.nullish(deadWhere),
})

export const deadLettersPurgeSchema = z.object({
  type: z.literal('dead-letters.purge'),
  ref,
  positions: z.nullish(positions),
  where: z.nullish(deadWhere),
})

/** Every command by its `type`. */
export const COMMANDS = {
  hello: helloSchema,
  auth: authSchema,
  bye: byeSchema,
  send: sendSchema,
  ack: ackSchema,
  nack: nackSchema,
  progress: progressSchema,
  ping: pingSchema,
  pong: pongSchema,
  discover: discoverSchema,
  update: updateSchema,
  leader: leaderSchema,
  subscribe: subscribeSchema,
  unsubscribe: unsubscribeSchema,
  'stream.open': streamOpenSchema,
  'stream.credit': streamCreditSchema,
  'stream.chunk': streamChunkSchema,
  'stream.end': streamEndSchema,
  'stream.cancel': streamCancelSchema,
  'dead-letters.list': deadLettersListSchema,
  'dead-letters.redrive': deadLettersRedriveSchema,
  'dead-letters.purge': deadLettersPurgeSchema,
} as const

export type CommandType = keyof typeof COMMANDS
export type Ref = z.infer<typeof ref>
export type EventPattern = (typeof EVENT_PATTERNS)[number]
export type Where = z.infer<typeof whereSchema>
export type Hello = z.infer<typeof helloSchema>
export type Auth = z.infer<typeof authSchema>
export type Bye = z.infer<typeof byeSchema>
export type Send = z.infer<typeof sendSchema>
export type Ack = z.infer<typeof ackSchema>
export type Nack = z.infer<typeof nackSchema>
export type Progress = z.infer<typeof progressSchema>
export type Ping = z.infer<typeof pingSchema>
export type Pong = z.infer<typeof pongSchema>
export type Discover = z.infer<typeof discoverSchema>
export type Update = z.infer<typeof updateSchema>
export type Leader = z.infer<typeof leaderSchema>
export type Subscribe = z.infer<typeof subscribeSchema>
export type Unsubscribe = z.infer<typeof unsubscribeSchema>
export type StreamOpen = z.infer<typeof streamOpenSchema>
export type StreamCredit = z.infer<typeof streamCreditSchema>
export type StreamChunk = z.infer<typeof streamChunkSchema>
export type StreamEnd = z.infer<typeof streamEndSchema>
export type StreamCancel = z.infer<typeof streamCancelSchema>
export type DeadWhere = z.infer<typeof deadWhereSchema>
export type DeadLettersList = z.infer<typeof deadLettersListSchema>
export type DeadLettersRedrive = z.infer<typeof deadLettersRedriveSchema>
export type DeadLettersPurge = z.infer<typeof deadLettersPurgeSchema>
export type Command =
  | Hello
  | Auth
  | Bye
  | Send
  | Ack
  | Nack
  | Progress
  | Ping
  | Pong
  | Discover
  | Update
  | Leader
  | Subscribe
  | Unsubscribe
  | StreamOpen
  | StreamCredit
  | StreamChunk
  | StreamEnd
  | StreamCancel
  | DeadLettersList
  | DeadLettersRedrive
  | DeadLettersPurge
