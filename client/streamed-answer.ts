import { toError } from './errors.ts'
import { createPending } from './pending.ts'
import type { OutgoingStream } from './stream-writer.ts'

/** Milliseconds that a generator has to end after its receiver has left; then nobody waits for it any more. */
const RETURN_MS = 1000

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

/** Ends an iterator before its end. Resolves when it has, or will not. */
export async function leave(iterator: AsyncIterator<unknown>): Promise<void> {
  const left = createPending<unknown>({ timeoutMs: RETURN_MS })
  const end = async (): Promise<unknown> => iterator.return?.()
  end().then(left.resolve, left.fail)
  // What it throws while it is left concerns nobody any more.
  await left.promise.catch(() => undefined)
}

/**
 * Sends what a handler yields, asking for the next only when there is room for it. Resolves when all is sent or the receiver has
 * left; when the handler fails, or yields what can't be sent, that is told to the receiver and thrown.
 */
export async function stream(iterator: AsyncIterator<unknown>, writer: OutgoingStream): Promise<void> {
  try {
    for (;;) {
      if (!writer.hasRoom) await writer.room()
      const step = await writer.until(iterator.next())
      if (step.done === true) break
      writer.put(step.value)
    }
    writer.finish(null)
  } catch (error) {
    const { aborted } = writer.signal
    if (!aborted) writer.finish(toError(error))
    await leave(iterator)
    if (!aborted) throw error
  }
}
