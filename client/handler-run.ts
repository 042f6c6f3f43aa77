/**
 * One run of a handler: what tells it to stop, which requests of its own it waits for, and whether the message is still its
 * own. Holds nothing of the message, for what it starts may outlive it.
 */
export class HandlerRun {
  readonly #onWait: (waits: boolean) => void
  #controller: AbortController | null = null
  #aborted: Error | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #requests = 0
  #lost: Error | null = null
  #ended = false

  /** `onWait`: it begins to wait for requests of its own, or has the answers to all of them. Not after its end. */
  constructor(onWait: (waits: boolean) => void) {
    this.#onWait = onWait
  }

  /** Made when it is first asked for: few handlers do. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#aborted !== null) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  /** Why the message was taken from it, or null: then what it does counts. */
  get lost(): Error | null {
    return this.#lost
  }

  /** Whether it has given its place up, having returned or lost its message. */
  get ended(): boolean {
    return this.#ended
  }

  /** Whether requests of its own are open. */
  get waits(): boolean {
    return this.#requests > 0
  }

  /** Calls `onTimeout` unless it has ended by then. */
  limit(timeoutMs: number, onTimeout: () => void): void {
    this.#timer = setTimeout(onTimeout, timeoutMs)
  }

  /** Counts as waiting until `reply` is settled. */
  wait(reply: Promise<unknown>): void {
    if (this.#ended) return
    if (++this.#requests === 1) this.#onWait(true)
    const answered = (): void => {
      if (--this.#requests === 0 && !this.#ended) this.#onWait(false)
    }
    reply.then(answered, answered)
  }

  /** Tells it that nobody waits for it any more. */
  abort(reason: Error): void {
    this.#stopTimer()
    this.#aborted ??= reason
    this.#controller?.abort(reason)
  }

  /** The message is not its own any more. */
  lose(reason: Error): void {
    this.#lost ??= reason
    this.abort(reason)
  }

  end(): void {
    this.#stopTimer()
    this.#ended = true
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
