import { MeshError } from '../../../protocol/errors.ts'

/** What the store answers instead of running a script whose namespace has begun anew: see lua/_epoch.lua. */
export const EPOCH_ENDED = 'EPOCH'

export const unavailable = (reason: string): MeshError =>
  new MeshError('store_unavailable', `the store does not answer (${reason}); try again`, {
    retryAfterMs: 500,
  })

/**
 * A failed command, as every operation of the core tells it: `store_unavailable`, or an Error where a script has a defect, which no
 * repetition mends. Of what ioredis throws only the message is kept: its `command` has every payload of the call.
 */
export function toStoreError(thrown: unknown): Error {
  if (thrown instanceof MeshError) return thrown
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  if (/^(ERR|WRONGTYPE) /.test(reason)) return new Error(`Redis refused a command: ${reason}`)
  return unavailable(reason)
}
