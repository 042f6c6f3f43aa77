import { z } from 'zod'
import { wholeNamespace } from './authorize.ts'
import { operation } from './operation.ts'
import { hubsList, namespace, namespacesList } from './schemas.ts'

const tag = 'hubs'
/** They tell of all namespaces. */
const everywhere = wholeNamespace('*')

export const hubs = [
  operation({
    id: 'listHubs',
    method: 'get',
    path: '/hubs',
    tag,
    summary: 'List the hubs that live',
    query: z.object({
      namespace: namespace
        .unwrap()
        .optional()
        .describe('Only hubs that serve this namespace, with their agents in it'),
    }),
    answer: hubsList,
    async handle({ query, operations, authorize }) {
      const { namespace: name } = query
      await authorize('admin', name === undefined ? everywhere : wholeNamespace(name))
      return { hubs: [...(await operations.hubs(name ?? null))] }
    },
  }),
  operation({
    id: 'listNamespaces',
    method: 'get',
    path: '/namespaces',
    tag,
    summary: 'List the namespaces that a hub serves now',
    description:
      'One is served while anybody is registered there, and for a while after somebody asked for it.',
    answer: namespacesList,
    async handle({ operations, authorize }) {
      await authorize('admin', everywhere)
      return { namespaces: [...(await operations.namespaces())] }
    },
  }),
]
