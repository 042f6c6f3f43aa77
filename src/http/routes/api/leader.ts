import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import { inNamespace, leaderAnswer } from './schemas.ts'

export const leader = [
  operation({
    id: 'getLeader',
    method: 'get',
    path: '/leader',
    tag: 'agents',
    summary: 'Get the leader of a namespace, and its term',
    query: inNamespace,
    answer: leaderAnswer,
    async handle({ query, operations, authorize }) {
      await authorize('discover', wholeNamespace(query.namespace))
      return { leader: await operations.leader(query.namespace) }
    },
  }),
]
