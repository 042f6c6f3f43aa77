/**
 * One run of a handler: what tells it to stop, which requests of its own it waits for, and whether the message is still its
 * own. Holds nothing of the message, for what it starts may outlive it.
 */
export interface HandlerRun {
  readonly signal: AbortSignal
  /** Why the message was taken from it; absent: what it does counts. */
  readonly lost: Error | undefined
  /** Whether it has given its place up, having returned or lost its message. */
  readonly ended: boolean
  /** Whether requests of its own are open. */
  readonly waits: boolean
  /** Calls `onTimeout` unless it has ended by then. */
  limit(timeoutMs: number, onTimeout: () => void): void
  /** Counts as waiting until `reply` is settled. */
  wait(reply: Promise<unknown>): void
  /** Tells it that nobody waits for it any more. */
  abort(reason: Error): void
  /** The message is not its own any more. */
  lose(reason: Error): void
  end(): void
}

/** `onWait`: it begins to wait for requests of its own, or has the answers to all of them. Not after its end. */
export function createHandlerRun(onWait: (waits: boolean) => void): HandlerRun {
  /** Made when its signal is first asked for: few handlers do. */
  let controller: AbortController | undefined
  let aborted: Error | undefined
  let lost: Error | undefined
  let ended = false
  let requests = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  function count(change: 1 | -1): void {
    const before = requests
    requests += change
    if (!ended && before + requests === 1) onWait(requests > 0)
  }

  const run: HandlerRun = {
    get signal() {
      controller ??= new AbortController()
      if (aborted) controller.abort(aborted)
      return controller.signal
    },
    get lost() {
      return lost
    },
    get ended() {
      return ended
    },
    get waits() {
      return requests > 0
    },
    limit(timeoutMs, onTimeout) {
      timer = setTimeout(onTimeout, timeoutMs)
    },
    wait(reply) {
      if (ended) return
      count(1)
      const answered = (): void => count(-1)
      reply.then(answered, answered)
    },
    abort(reason) {
      clearTimeout(timer)
      aborted ??= reason
      controller?.abort(aborted)
    },
    lose(reason) {
      lost ??= reason
      run.abort(reason)
    },
    end() {
      clearTimeout(timer)
      ended = true
    },
  }
  return run
}
