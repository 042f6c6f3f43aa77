import type { Ack, Nack, Progress } from '../../../protocol/commands.ts'
import type { Context } from '../dispatch.ts'

/** `ack`: processed. Ids that the client does not hold are ignored. */
export function ack({ session }: Context, { ids }: Ack): void {
  session?.ack(ids)
}

/** `nack`: not processed; pushed again after its delay, or given up. Without an answer, so a failure of the store only delays it. */
export function nack({ session, namespace }: Context, frame: Nack): void {
  if (session?.worker.has(frame.id)) session.worker.nack(frame)
  else session?.delivery.nack(frame).catch((error: unknown) => namespace.onStoreError(error))
}

/**
 * `progress` keeps work with its holder, and tells the sender of a message with a receipt that it is worked on. A direct or broadcast
 * message has no acknowledgement timeout to put off. Without an answer: a failure of the store is mended by the next one.
 */
export function progress({ session, namespace }: Context, { ids }: Progress): void {
  if (!session) return
  const onError = (error: unknown): void => namespace.onStoreError(error)
  const holds = session.worker.holdsOf(ids)
  if (holds.length > 0) namespace.core.queues.extend(namespace.name, holds).catch(onError)
  session.delivery.progress(ids).catch(onError)
}
