import { closedError } from './errors.ts'
import { DONE } from './feed.ts'
import type { Pending } from './pending.ts'

/**
 * Stands for an iterator that is made later. Until then it shows `first`, its reader waits, and leaving it gives up what is made;
 * from then on it is the iterator itself.
 */
export function standIn<Real extends AsyncIterator<unknown>>(
  coming: Pending<Real>,
  first: Partial<Real>,
): Real {
  let isLeft = false
  let shown: object = {
    ...first,
    next: () =>
      coming.promise.then(
        (real) => real.next(),
        (error: Error) => (isLeft ? DONE : Promise.reject(error)),
      ),
    return: leave,
    cancel: leave,
    close: leave,
    [Symbol.asyncDispose]: leave,
    [Symbol.asyncIterator]: () => proxy,
  }

  async function leave(): Promise<typeof DONE> {
    isLeft = true
    coming.fail(closedError('the iterator'))
    return DONE
  }

  const proxy = new Proxy(shown, {
    get(_, name) {
      const value: unknown = Reflect.get(shown, name)
      // Looked up when it is called: `for await` and `await using` keep what they were given first.
      return typeof value === 'function'
        ? (...given: unknown[]) => Reflect.apply(Reflect.get(shown, name), shown, given)
        : value
    },
  })
  coming.promise.then(
    (real) => (shown = real),
    () => undefined,
  )
  return proxy as Real
}
