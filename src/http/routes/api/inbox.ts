import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import { inboxInfo, inNamespace, ofAgent } from './schemas.ts'

export const inbox = [
  operation({
    id: 'getInbox',
    method: 'get',
    path: '/agents/{agentId}/inbox',
    tag: 'messages',
    summary: 'How much an agent has not acknowledged',
    description:
      'Direct messages, responses and receipts; not broadcasts, which wait in one log for all, nor work.',
    params: ofAgent,
    query: inNamespace,
    answer: inboxInfo,
    errors: ['unknown_target'],
    async handle({ params, query, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      return operations.inbox(query.namespace, params.agentId)
    },
  }),
]
