/** All chunks of a stream that ends well. */
export async function all(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const got: unknown[] = []
  for await (const chunk of stream) got.push(chunk)
  return got
}

/** What is read before it breaks off, and the error it breaks off with. */
export async function broken(stream: AsyncIterable<unknown>): Promise<{ got: unknown[]; error: unknown }> {
  const got: unknown[] = []
  try {
    for await (const chunk of stream) got.push(chunk)
  } catch (error) {
    return { got, error }
  }
  throw new Error(`the stream ended as if it were complete, after ${JSON.stringify(got)}`)
}

/** A promise that the test settles. */
export interface Deferred<Value> {
  readonly promise: Promise<Value>
  resolve: (value: Value) => void
}

export function deferred<Value = void>(): Deferred<Value> {
  let resolve: (value: Value) => void = () => undefined
  const promise = new Promise<Value>((settle) => (resolve = settle))
  return { promise, resolve }
}

/** 0 to `to` - 1. */
export async function* count(to: number): AsyncGenerator<number, void> {
  for (let i = 0; i < to; i++) yield i
}
