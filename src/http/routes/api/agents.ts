import { z } from 'zod'
import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import {
  agentInfo,
  agentsPage,
  cursor,
  filters,
  inNamespace,
  limit,
  namespace,
  ofAgent,
  toWhere,
} from './schemas.ts'

const tag = 'agents'

export const agents = [
  operation({
    id: 'listAgents',
    method: 'get',
    path: '/agents',
    tag,
    summary: 'List the agents that match every filter',
    query: z.object({ namespace, ...filters, limit, cursor }),
    answer: agentsPage,
    async handle({ query, operations, authorize }) {
      await authorize('discover', wholeNamespace(query.namespace))
      const { limit: max, cursor: after } = query
      return operations.agents(query.namespace, { where: toWhere(query), limit: max, cursor: after })
    },
  }),
  operation({
    id: 'getAgent',
    method: 'get',
    path: '/agents/{agentId}',
    tag,
    summary: 'Get one agent',
    params: ofAgent,
    query: inNamespace,
    answer: agentInfo,
    errors: ['unknown_target'],
    async handle({ params, query, operations, authorize }) {
      await authorize('discover', wholeNamespace(query.namespace))
      return operations.agent(query.namespace, params.agentId)
    },
  }),
  operation({
    id: 'unregisterAgent',
    method: 'delete',
    path: '/agents/{agentId}',
    tag,
    summary: 'Unregister an agent',
    description:
      'Its connection is closed with 4410, after which its client does not come back by itself; what is left for it goes to the dead letters, and work it holds to others.',
    params: ofAgent,
    query: inNamespace,
    status: 204,
    answer: null,
    errors: ['unknown_target', 'draining'],
    async handle({ params, query, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      await operations.unregister(query.namespace, params.agentId)
      return undefined
    },
  }),
]
