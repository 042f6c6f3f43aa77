import type { FastifyReply } from 'fastify'
import { MeshError } from '../../../../protocol/errors.ts'
import type { Refusal } from '../../gate.ts'
import { errorAnswer, sendError } from './errors.ts'

/** What everything of this API begins with. */
export const API_PATH = '/api/v1'

const OURS = new RegExp(`^${API_PATH}(?:[/?]|$)`)

/** Whether a URL belongs to this API, served or not. */
export const isApi = (url: string): boolean => OURS.test(url)

const noFault = (): void => undefined

/** What the gate says of a request, as this API tells errors. */
export function sendRefusal(
  { status, text }: Pick<Refusal, 'status' | 'text'>,
  reply: FastifyReply,
): FastifyReply {
  const error = new MeshError(status === 403 ? 'forbidden' : 'bad_request', text)
  return sendError(reply, errorAnswer(error, false, noFault))
}

/** What Fastify says of a request that it could not find a route for, as this API tells errors. */
export const sendFrameworkError = (error: Error, reply: FastifyReply): FastifyReply =>
  sendError(reply, errorAnswer(error, false, noFault))
