import { MeshError } from '../protocol/errors.ts'
import { CLIENT_ERRORS } from './error-table.ts'
import type { ClientErrorCode } from './error-table.ts'

/**
 * Why a stream broke off: the `code` and message of its sender (`handler_failed` where its handler threw an error without a
 * code), or `peer_gone` (the other agent, its hub or a connection is gone), `interrupted` (something was lost between two hubs),
 * `cancelled` (to the sender: the receiver wants no more).
 */
export class StreamError extends MeshError {
  /** Of the last chunk that the hub passed on, where the hub ended the stream; -1: none was. */
  declare readonly seq: number | null

  constructor(code: string, message: string, seq: number | null = null) {
    const [name, retryable, remedy] = CLIENT_ERRORS[code as ClientErrorCode] ?? []
    super(code, message, name === 'StreamError' ? { name, retryable, remedy } : { name: 'StreamError' })
    this.seq = seq
  }
}
