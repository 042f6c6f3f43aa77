import { z } from 'zod'
import type { AgentInfo } from '../../../../protocol/agent.ts'
import { deadWhereSchema, EVENT_PATTERNS } from '../../../../protocol/commands.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import type { DeadLetterInfo, LeaderInfo } from '../../../../protocol/replies.ts'
import { isWellFormed } from '../../../../protocol/text.ts'

const count = z.int().min(0)
const time = z.iso.datetime().describe('ISO 8601 UTC')
const ageMs = z.int().min(0).describe('Milliseconds')

/** Requests. */

const wellFormed = (text: string): boolean => isWellFormed(text)
const name = z.string().min(1).max(LIMITS.targetMaxChars).refine(wellFormed, 'must be well-formed Unicode')

/** Not a record, which drops a key `__proto__`: that has to match nothing. */
const isSmallMap = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length <= LIMITS.metadataMaxKeys

export const namespace = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/, 'must be 1 to 64 of a-z 0-9 -')
  .default('default')
  .describe('The namespace that is meant')
export const limit = z.coerce
  .number()
  .int()
  .min(1)
  .max(LIMITS.discoverLimitMax)
  .default(LIMITS.discoverLimitDefault)
  .describe('How many at most; a page may have fewer')
export const cursor = z.string().max(1_024).optional().describe('The cursor of the page before')
export const agentId = name.describe('The id of an agent')

export const inNamespace = z.object({ namespace })
export const ofAgent = z.object({ agentId })

/** Every filter of `discover`. */
export const filters = {
  capability: z
    .array(name)
    .max(LIMITS.listMax)
    .optional()
    .describe('Agents that have all of these capabilities; give the parameter once for each'),
  anyCapability: z
    .array(name)
    .max(LIMITS.listMax)
    .optional()
    .describe('Agents that have any of these capabilities'),
  status: z
    .array(z.enum(['online', 'degraded', 'offline']))
    .max(3)
    .optional()
    .describe('Agents of any of these statuses; absent: of every status'),
  name: name.optional().describe('The agent of this name'),
  group: name.optional().describe('Agents of this group'),
  version: z.string().max(LIMITS.stringChars).optional().describe('An npm semver range, like ^1.2'),
  metadata: z
    .custom<Record<string, string>>(isSmallMap, `at most ${LIMITS.metadataMaxKeys} keys`)
    .meta({ deep: true, type: 'object', additionalProperties: { type: 'string' } })
    .optional()
    .describe('Agents with this metadata: metadata[team]=search'),
}

export interface Filters {
  readonly capability?: string[] | undefined
  readonly anyCapability?: string[] | undefined
  readonly status?: ('online' | 'degraded' | 'offline')[] | undefined
  readonly name?: string | undefined
  readonly group?: string | undefined
  readonly version?: string | undefined
  readonly metadata?: Record<string, string> | undefined
}

/** The filters as a `where` of the protocol. */
export const toWhere = ({
  capability,
  anyCapability,
  status,
  name: named,
  group,
  version,
  metadata,
}: Filters) => ({
  capabilities: { all: capability, any: anyCapability },
  status,
  name: named,
  group,
  version,
  metadata,
})

export const eventPatterns = z
  .array(z.enum(EVENT_PATTERNS))
  .max(EVENT_PATTERNS.length)
  .default(['agent.*', 'leader.changed'])
  .describe('Kinds of events; give the parameter once for each')

export const deadLetterFilters = deadWhereSchema.shape

/** Answers. */

export const agentInfo = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    capabilities: z.array(z.string()),
    version: z.string().nullable(),
    profiles: z.array(z.string()),
    groups: z.array(z.string()),
    address: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    concurrency: count.describe('Work-queue messages it takes at once'),
    status: z.enum(['online', 'degraded', 'offline']),
    statusReason: z.string().nullable(),
    connected: z.boolean(),
    metrics: z.record(z.string(), z.number()).describe('Current on its own hub only'),
    isLeader: z.boolean(),
    transport: z.enum(['websocket', 'http', 'mxp']),
    hub: z.string().nullable().describe('The hub that has its connection, or had the last one'),
    registeredAt: time,
    lastHeartbeat: time.describe('Current on its own hub only'),
    revision: count.describe('Of its latest change'),
  })
  .meta({ id: 'AgentInfo' }) satisfies z.ZodType<AgentInfo>

export const agentsPage = z
  .strictObject({
    agents: z.array(agentInfo).describe('By name, then id'),
    cursor: z.string().nullable().describe('Of the next page; null where this is the last one'),
    revision: count.describe('Of the registry that this page is of'),
    counts: z
      .strictObject({ online: count, degraded: count, offline: count })
      .describe('All agents of the namespace, whether they match or not'),
  })
  .meta({ id: 'AgentsPage' })

export const leaderInfo = z
  .strictObject({
    agentId: z.string().nullable().describe('Null while there is none'),
    term: count.describe('Of this leader, or of the latest one'),
  })
  .meta({ id: 'LeaderInfo' }) satisfies z.ZodType<LeaderInfo>

export const leaderAnswer = z.strictObject({ leader: leaderInfo }).meta({ id: 'Leader' })

export const sendResult = z
  .strictObject({
    id: z.string().describe('Of the message'),
    recipients: count.describe(
      'Registered agents it is owed to; of work: those that have the capability now',
    ),
  })
  .meta({ id: 'SendResult' })

const lane = z
  .strictObject({
    entries: count.describe('Not acknowledged'),
    oldestAt: time.nullable().describe('When the oldest was sent, ISO 8601 UTC'),
    oldestAgeMs: ageMs.nullable(),
  })
  .meta({ id: 'LaneDepth' })

export const inboxInfo = z
  .strictObject({
    agentId: z.string(),
    inbox: lane.describe('Direct messages'),
    replies: lane.describe('Responses and receipts'),
  })
  .meta({ id: 'InboxDepth' })

export const queuesPage = z
  .strictObject({
    queues: z
      .array(
        z
          .strictObject({
            capability: z.string(),
            entries: count.describe('All: waiting, delayed and in progress'),
            waiting: count.describe('Anybody may have them now'),
            delayed: count.describe('Rejected, and not due yet'),
            inProgress: count.describe('Agents hold them'),
            oldestAt: time.nullable().describe('When the oldest that waits was stored, ISO 8601 UTC'),
            oldestAgeMs: ageMs.nullable(),
          })
          .meta({ id: 'QueueDepth' }),
      )
      .describe('Those that have entries, by capability'),
    cursor: z.string().nullable().describe('Of the next page; null where this is the last one'),
  })
  .meta({ id: 'QueuesPage' })

export const hubsList = z
  .strictObject({
    hubs: z.array(
      z
        .strictObject({
          id: z.string(),
          leaseMs: count.describe('Milliseconds until its lease runs out, unless it is renewed'),
          namespaces: z
            .array(z.string())
            .describe('Those asked for, as it told when it renewed its lease last'),
          agents: count.describe('Agents connected to it, in the namespaces that were asked for'),
        })
        .meta({ id: 'HubInfo' }),
    ),
  })
  .meta({ id: 'Hubs' })

export const namespacesList = z
  .strictObject({
    namespaces: z.array(
      z
        .strictObject({
          name: z.string(),
          hubs: z.array(z.string()).describe('Ids of the hubs that serve it'),
        })
        .meta({ id: 'NamespaceInfo' }),
    ),
  })
  .meta({ id: 'Namespaces' })

const deadLetter = z
  .strictObject({
    position: z.string().describe('Names it for redrive and purge'),
    messageId: z.string().nullable().describe('Null where one record stands for several broadcasts'),
    agentId: z.string().nullable().describe('Whom it was for, or who had it last'),
    capability: z.string().nullable().describe('Of work: its queue'),
    from: z.string().nullable(),
    messageType: z.string().nullable(),
    reason: z.string(),
    attempts: count.describe('How often it failed'),
    createdAt: time.nullable(),
    deadAt: time,
    broadcasts: z.strictObject({ from: count, to: count }).exactOptional(),
    payload: z.unknown().optional().describe('Where the request says payload=true'),
  })
  .meta({ id: 'DeadLetter' }) satisfies z.ZodType<DeadLetterInfo>

export const deadLettersPage = z
  .strictObject({
    deadLetters: z.array(deadLetter).describe('In the order they came'),
    cursor: z.string().nullable().describe('Of the next page; null where this is the last one'),
    kept: count.describe('All that are kept, whether they match or not'),
    dropped: count.describe('How many were ever lost because there were more than the hub keeps'),
  })
  .meta({ id: 'DeadLettersPage' })

export const redriveResult = z
  .strictObject({
    redriven: count,
    failed: z
      .array(
        z.strictObject({
          position: z.string(),
          code: z.enum(['unknown_target', 'inbox_full', 'quota_exceeded', 'not_a_message']),
        }),
      )
      .describe('What could not be stored again, and stays'),
  })
  .meta({ id: 'RedriveResult' })

export const purgeResult = z.strictObject({ purged: count }).meta({ id: 'PurgeResult' })

export const errorBody = z
  .strictObject({
    error: z.strictObject({
      code: z.string(),
      message: z.string().describe('Names the thing, the value and the rule; for people'),
      remedy: z.string().optional().describe('What to do about errors of this code'),
      retryable: z.boolean().describe('Whether the very same request may succeed later'),
    }),
  })
  .meta({ id: 'Error' })

const eventHead = { revision: count, at: time }
const agentEvent = { ...eventHead, agentId: z.string(), agent: agentInfo }
const matches = z.literal(false).optional().describe('The agent does not match the filters any more')

/** `data` of an event by its `event`. */
export const eventData = z
  .discriminatedUnion('event', [
    z.strictObject({ event: z.literal('agent.registered'), ...agentEvent }),
    z.strictObject({ event: z.literal('agent.updated'), ...agentEvent, matches }),
    z.strictObject({ event: z.literal('agent.unregistered'), ...agentEvent }),
    z.strictObject({ event: z.literal('agent.heartbeat'), ...agentEvent }),
    z.strictObject({
      event: z.literal('agent.status_changed'),
      ...agentEvent,
      old: z.string(),
      new: z.string(),
    }),
    z.strictObject({
      event: z.literal('leader.changed'),
      ...eventHead,
      agentId: z.string().nullable(),
      term: count,
      old: z.string().nullable(),
    }),
    z.strictObject({
      event: z.literal('message.dead_lettered'),
      ...eventHead,
      messageId: z.string().nullable(),
      agentId: z.string().nullable(),
      capability: z.string().nullable(),
      reason: z.string(),
    }),
  ])
  .meta({ id: 'Event' })

/** `data` of the event `list`: one page of what matches. */
export const listData = z
  .strictObject({
    revision: count,
    agents: z.array(agentInfo),
    last: z.boolean().describe('False: more pages follow, as events of the same name'),
    reset: z.boolean().describe('True: events were lost, this list takes the place of what was known'),
    leader: leaderInfo,
  })
  .meta({ id: 'EventList' })

/** An answer of events. What `data` of each is cannot be said of a text but by `contentSchema`. */
export const eventStream = z.string().meta({
  id: 'EventStream',
  description: 'Server-Sent Events; data of each is JSON, by contentSchema',
  contentMediaType: 'text/event-stream',
  contentSchema: {
    anyOf: [{ $ref: '#/components/schemas/Event' }, { $ref: '#/components/schemas/EventList' }],
  },
})
