/** A Call that was pushed: whom its Response goes to. */
export interface Call {
  readonly from: string
  readonly correlationId: string
  readonly traceparent: string | undefined
}

/** Calls whose Response may come without saying whom it is for; of older ones it has to. */
const CALLS_MAX = 4_096

/** The latest Calls pushed to one agent, by message id. They stay when they are answered: an answer may be streamed as well. */
export class Calls {
  readonly #calls = new Map<bigint, Call>()

  add(messageId: bigint, call: Call): void {
    this.#calls.delete(messageId)
    this.#calls.set(messageId, call)
    if (this.#calls.size <= CALLS_MAX) return
    const [oldest] = this.#calls.keys()
    if (oldest !== undefined) this.#calls.delete(oldest)
  }

  get(messageId: bigint): Call | undefined {
    return this.#calls.get(messageId)
  }
}
