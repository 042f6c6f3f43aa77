import { z } from 'zod'
import { sendSchema, targetSchema } from '../../../../protocol/commands.ts'
import { traceparentOf } from '../../trace-context.ts'
import type { ApiSubject } from './authorize.ts'
import { operation } from './operation.ts'
import { agentId, inNamespace, sendResult } from './schemas.ts'

/** Whose messages are nobody's in particular. */
const OPERATOR = 'http'

const { messageType, correlationId, ttlMs, ifNone, echo, traceparent } = sendSchema.shape

const body = z
  .strictObject({
    to: z
      .strictObject(targetSchema.shape)
      .describe('One of agent, name, leader, capability (mode one or all), group, all'),
    messageType,
    payload: z.unknown().optional().describe('Any JSON; absent: null'),
    from: agentId.default(OPERATOR).describe('Who it is from: an id that no agent has'),
    correlationId,
    ttlMs,
    ifNone,
    echo,
    traceparent,
  })
  .meta({ id: 'Send' })

type Target = z.output<typeof body>['to']

/** What a send is about, as permissions name it; which of several keys counts does not matter: those are refused. */
function subjectOf(to: Target, namespace: string): ['send' | 'broadcast', ApiSubject] {
  const all = to.group != null || to.all === true || to.mode === 'all'
  const verb = all ? 'broadcast' : 'send'
  if (to.agent != null) return [verb, { kind: 'agent', value: to.agent, namespace }]
  if (to.name != null) return [verb, { kind: 'name', value: to.name, namespace }]
  if (to.capability != null) return [verb, { kind: 'capability', value: to.capability, namespace }]
  if (to.group != null) return [verb, { kind: 'group', value: to.group, namespace }]
  return [verb, { kind: 'role', value: to.all === true ? 'all' : 'leader', namespace }]
}

export const messages = [
  operation({
    id: 'sendMessage',
    method: 'post',
    path: '/messages',
    tag: 'messages',
    summary: 'Send a message',
    description:
      'Stored like a message of an agent, with the same targets. Nobody can answer it: whoever sends by HTTP has no inbox. A request that is repeated is another message.',
    query: inNamespace,
    body,
    status: 202,
    answer: sendResult,
    errors: [
      'unknown_target',
      'agent_taken',
      'no_capable_agent',
      'no_leader',
      'inbox_full',
      'quota_exceeded',
      'draining',
    ],
    headers: { traceparent: 'The trace that the message belongs to, where the body does not say it' },
    async handle({ query, body: message, request, operations, authorize }) {
      const { from } = message
      await authorize(...subjectOf(message.to, query.namespace))
      if (from !== OPERATOR)
        await authorize('register', { kind: 'agent', value: from, namespace: query.namespace })
      return operations.send(query.namespace, {
        ...message,
        payload: message.payload ?? null,
        traceparent: message.traceparent ?? traceparentOf(request.headers),
      })
    },
  }),
]
