import { abortError, handled, timeoutError } from './errors.ts'

/** When something that is waited for is given up. */
export interface Limits {
  /** Milliseconds; absent: never. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A promise, and who settles it. What comes after the first outcome has no effect. */
export interface Pending<Result> {
  /** No unhandled rejection where nobody looks. */
  readonly promise: Promise<Result>
  /** Whether it is not settled. */
  readonly open: boolean
  resolve(result: Result): void
  fail(error: Error): void
}

/**
 * Waits for `what`, within its limits; where `signal` is aborted already, it has failed when it is returned. `onSettled` is called
 * once, with the outcome.
 */
export function createPending<Result = void>(
  { timeoutMs, signal }: Limits = {},
  what = '',
  onSettled?: (error?: Error, result?: Result) => void,
): Pending<Result> {
  let resolve!: (result: Result) => void
  let reject!: (error: Error) => void
  let open = true
  const promise = new Promise<Result>((...settlers) => ([resolve, reject] = settlers))

  function settle(error?: Error, result?: Result): void {
    if (!open) return
    open = false
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
    onSettled?.(error, result)
  }

  function fail(error: Error): void {
    settle(error)
    reject(error)
  }

  const aborted = (): void => fail(abortError(signal as AbortSignal))
  const timer =
    timeoutMs === undefined ? timeoutMs : setTimeout(() => fail(timeoutError(what, timeoutMs)), timeoutMs)
  signal?.addEventListener('abort', aborted)
  if (signal?.aborted) aborted()
  return {
    promise: handled(promise),
    get open() {
      return open
    },
    resolve(result) {
      settle(undefined, result)
      resolve(result)
    },
    fail,
  }
}
