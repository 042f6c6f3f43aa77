import { MeshError } from '../../protocol/errors.ts'
import type { Namespace } from './namespace.ts'

/** No request waits longer for the store. */
const ANSWER_MS = 4_000
/** How long a list waits to be up to date, where the store does not answer. */
const REFRESH_MS = 1_000

/** Rejects with `store_unavailable` where `work` takes too long; it may still be done. */
export async function promptly<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new MeshError(
      'store_unavailable',
      `the store has not answered within ${ANSWER_MS} ms; try again`,
      { retryAfterMs: 1_000 },
    )
    timer = setTimeout(() => reject(error), ANSWER_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The registry of a namespace as it is when this is asked, at least; while the store is away, as this hub knows it. Never rejects. */
export async function refreshed(namespace: Namespace): Promise<Namespace> {
  let timer: NodeJS.Timeout | undefined
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, REFRESH_MS)
  })
  await Promise.race([namespace.refresh(), enough])
  clearTimeout(timer)
  return namespace
}
