import { MeshError } from '../../../protocol/errors.ts'

export const unavailable = (reason: string): MeshError =>
  new MeshError('store_unavailable', `the store does not answer (${reason}); try again`, {
    retryAfterMs: 500,
  })

/** What this hub knew of the namespace may not hold any more: the store was emptied, restarted, or is another server. */
export class EpochEnded extends MeshError {
  constructor() {
    super('store_unavailable', 'the store may have lost data and is being read anew; try again', {
      retryAfterMs: 500,
    })
  }
}

/** What ioredis says of itself → what that means to who reads it. */
const SAID: readonly (readonly [RegExp, string])[] = [
  [/max retries per request/, 'the connection was lost meanwhile'],
  [/isn't writeable|Connection is closed/, 'not connected'],
  [/Command timed out/, 'it takes too long'],
]

/**
 * A failed command, as every operation of the core tells it: `store_unavailable`, or an Error where a script has a defect, which no
 * repetition mends. Of what ioredis throws only the message is kept: its `command` has every payload of the call.
 */
export function toStoreError(thrown: unknown): Error {
  if (thrown instanceof MeshError) return thrown
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  // See lua/_epoch.lua.
  if (reason.startsWith('EPOCH ')) return new EpochEnded()
  if (/^(ERR|WRONGTYPE) /.test(reason)) return new Error(`Redis refused a command: ${reason}`)
  return unavailable(SAID.find(([said]) => said.test(reason))?.[1] ?? reason)
}
