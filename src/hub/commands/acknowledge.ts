import type { Ack, Nack, Progress } from '../../../protocol/commands.ts'
import type { Context } from '../dispatch.ts'

/** `ack`: processed. Ids that the client does not hold are ignored. */
export function ack({ session }: Context, { ids }: Ack): void {
  session?.delivery.ack(ids)
}

/** `nack`: not processed; pushed again after its delay, or given up. Without an answer, so a failure of the store only delays it. */
export function nack({ session, namespace }: Context, frame: Nack): void {
  session?.delivery.nack(frame).catch((error: unknown) => namespace.onStoreError(error))
}

/** `progress` keeps work-queue messages with their holder; a direct or broadcast message has no acknowledgement timeout to put off. */
export function progress(_context: Context, _frame: Progress): void {}
