import type { HandlerContext } from './message.ts'

/** One run of a handler. The signal is made when it is asked for: most handlers never look. */
export class Run implements HandlerContext {
  #controller: AbortController | null = null
  #reason: Error | null = null

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#reason !== null) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** Nobody waits for it any more. */
  readonly abort = (reason: Error): void => {
    this.#reason ??= reason
    this.#controller?.abort(this.#reason)
  }
}
