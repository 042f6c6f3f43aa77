import { z } from 'zod'
import { deadLettersPurgeSchema, deadLettersRedriveSchema } from '../../../../protocol/commands.ts'
import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import {
  cursor,
  deadLetterFilters,
  deadLettersPage,
  inNamespace,
  limit,
  namespace,
  purgeResult,
  redriveResult,
} from './schemas.ts'

const tag = 'dead letters'
const CHOICE =
  'Name them by their positions, or by where: those that match every field given. An empty where means all.'

const redriven = deadLettersRedriveSchema.shape
const purged = deadLettersPurgeSchema.shape

export const deadLetters = [
  operation({
    id: 'listDeadLetters',
    method: 'get',
    path: '/dead-letters',
    tag,
    summary: 'List the messages that were given up',
    query: z.object({
      namespace,
      ...deadLetterFilters,
      payload: z.enum(['true', 'false']).default('false').describe('Whether payloads are told'),
      limit,
      cursor,
    }),
    answer: deadLettersPage,
    async handle({ query, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      const { namespace: name, payload, limit: max, cursor: after, ...where } = query
      return operations.deadLetters(name, { where, payload: payload === 'true', limit: max, cursor: after })
    },
  }),
  operation({
    id: 'redriveDeadLetters',
    method: 'post',
    path: '/dead-letters/redrive',
    tag,
    summary: 'Store dead letters once more where they were',
    description: CHOICE,
    query: inNamespace,
    body: z.strictObject({ positions: redriven.positions, where: redriven.where }).meta({ id: 'Redrive' }),
    answer: redriveResult,
    errors: ['draining'],
    async handle({ query, body, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      return operations.redrive(query.namespace, body)
    },
  }),
  operation({
    id: 'purgeDeadLetters',
    method: 'post',
    path: '/dead-letters/purge',
    tag,
    summary: 'Delete dead letters',
    description: CHOICE,
    query: inNamespace,
    body: z.strictObject({ positions: purged.positions, where: purged.where }).meta({ id: 'Purge' }),
    answer: purgeResult,
    errors: ['draining'],
    async handle({ query, body, operations, authorize }) {
      await authorize('admin', wholeNamespace(query.namespace))
      return operations.purge(query.namespace, body)
    },
  }),
]
