/** What an outbox needs of `navigator.locks`, which Node 20 does not have. */
export class WebLocks {
  readonly #held = new Map<string, Promise<unknown>>()

  async request(
    name: string,
    { signal }: { readonly signal: AbortSignal },
    callback: () => Promise<unknown>,
  ): Promise<unknown> {
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error))
    })
    aborted.catch(() => undefined)
    for (let held = this.#held.get(name); held !== undefined; held = this.#held.get(name)) {
      await Promise.race([held, aborted])
    }
    const over = callback()
    this.#held.set(
      name,
      over.finally(() => this.#held.delete(name)),
    )
    return over
  }
}
