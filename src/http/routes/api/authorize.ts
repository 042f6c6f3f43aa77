import type { FastifyRequest } from 'fastify'

/** What a request does, in the words of permissions. */
export type ApiVerb = 'register' | 'send' | 'broadcast' | 'discover' | 'watch' | 'admin'

/** What it is done to; a `role` is `leader` or `all`, a `namespace` that is not one but all is `*`. */
export interface ApiSubject {
  readonly kind: 'agent' | 'name' | 'capability' | 'group' | 'role' | 'namespace'
  readonly value: string
  /** Where; `*`: in all. */
  readonly namespace: string
}

/** One namespace as a whole; `*`: all of them. */
export const wholeNamespace = (name: string): ApiSubject => ({
  kind: 'namespace',
  value: name,
  namespace: name,
})

/** What a request was let pass by, for answers that go on. */
export interface Pass {
  /** Until when it counts, milliseconds since 1970; null: for ever. */
  readonly until: number | null
  /** As tokens are now. @throws MeshError `unauthorized` or `forbidden` where it would not be let pass any more */
  again(): Pass
}

/** Lets a request pass, or throws MeshError `unauthorized` (401) or `forbidden` (403). */
export type Authorize = (request: FastifyRequest, verb: ApiVerb, subject: ApiSubject) => Promise<Pass>
