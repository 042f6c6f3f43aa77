import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Operations } from '../../../hub/operations.ts'
import type { ApiSubject, ApiVerb, Pass } from './authorize.ts'
import type { ApiErrorCode } from './errors.ts'

const NONE = z.object({})

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered whoever asks. */
    readonly isPublic?: boolean
  }
}

/** What a handler has: the request, read and judged, and what it may do. */
export interface Call<Params, Query, Body> {
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly operations: Operations
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** Lets it pass, or throws MeshError `unauthorized` or `forbidden`. */
  authorize(verb: ApiVerb, subject: ApiSubject): Promise<Pass>
}

/** One thing that can be asked of the API: its route, and its part of the OpenAPI document, are both made of this. */
export interface Operation {
  readonly id: string
  readonly method: 'get' | 'post' | 'delete'
  /** Behind `/api/v1`, like `/agents/{agentId}`. */
  readonly path: string
  readonly tag: string
  readonly summary: string
  readonly description?: string
  readonly params: z.ZodObject
  readonly query: z.ZodObject
  readonly body: z.ZodObject | null
  readonly status: 200 | 202 | 204
  readonly answer: z.ZodType | null
  /** Of the answer; default `application/json`. */
  readonly mediaType?: string
  /** Header parameters, by name. */
  readonly headers?: Readonly<Record<string, string>>
  /** Answered whoever asks, and without asking who; default false. */
  readonly isPublic?: boolean
  /** Besides those that any operation may meet. */
  readonly errors: readonly ApiErrorCode[]
  /** The answer; undefined where it has answered itself, or there is nothing to say. */
  readonly handle: (call: Call<never, never, never>) => Promise<unknown>
}

/** What is answered is not changed any more. */
type Frozen<T> = T extends readonly (infer Item)[]
  ? readonly Frozen<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Frozen<T[Key]> }
    : T

interface Definition<
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodObject | null,
  Answer extends z.ZodType | null,
> extends Omit<Operation, 'params' | 'query' | 'body' | 'answer' | 'handle' | 'errors' | 'status'> {
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly status?: Operation['status']
  readonly answer: Answer
  readonly errors?: readonly ApiErrorCode[]
  readonly handle: (
    call: Call<z.output<Params>, z.output<Query>, Body extends z.ZodObject ? z.output<Body> : null>,
  ) => Promise<Answer extends z.ZodType ? Frozen<z.input<Answer>> : undefined>
}

/** An operation with handler and schemas that fit together. */
export function operation<
  Params extends z.ZodObject = typeof NONE,
  Query extends z.ZodObject = typeof NONE,
  Body extends z.ZodObject | null = null,
  Answer extends z.ZodType | null = null,
>(definition: Definition<Params, Query, Body, Answer>): Operation {
  const { params = NONE, query = NONE, body = null, errors = [], status = 200, handle, ...rest } = definition
  // What it is called with has been read by these very schemas.
  return { ...rest, params, query, body, errors, status, handle }
}
