/** What ends these, in this order: `await using` of an object with all that a conversation needs. */
export const endOf = (...all: readonly AsyncDisposable[]): AsyncDisposable => ({
  async [Symbol.asyncDispose]() {
    for (const one of all) await one[Symbol.asyncDispose]()
  },
})
