import { z } from 'zod'
import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import { cursor, limit, namespace, queuesPage } from './schemas.ts'

export const queues = [
  operation({
    id: 'listQueues',
    method: 'get',
    path: '/queues',
    tag: 'queues',
    summary: 'List the work queues that have entries',
    query: z.object({ namespace, limit, cursor }),
    answer: queuesPage,
    async handle({ query, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      return operations.queues(query.namespace, query.cursor ?? null, query.limit)
    },
  }),
]
