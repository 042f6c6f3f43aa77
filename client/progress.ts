import { idFrames } from './id-frames.ts'

/** Milliseconds between two signs of progress where the hub takes nothing back however long it waits. */
const UNHURRIED_MS = 20_000

/** Tells the hub which messages are still worked on. One timer for all of them; it runs while there are any. */
export interface Progress {
  /** Milliseconds until the hub takes back what it hears nothing of (0: never); it is told three times within that. */
  pace(ackTimeoutMs: number): void
  /** Something is worked on. */
  start(): void
  /** The hub has been heard: if the timer is behind its time (a hidden tab's runs once a minute), tells it now. */
  catchUp(): void
  stop(): void
}

/** `ids`: of the messages that are worked on now. */
export function createProgress(write: (line: string) => void, ids: () => string[]): Progress {
  let everyMs = UNHURRIED_MS
  let timer: ReturnType<typeof setInterval> | undefined
  let toldAt = 0

  function tell(): void {
    toldAt = Date.now()
    const worked = ids()
    if (worked.length === 0) stop()
    else write(idFrames('progress', worked))
  }

  function start(): void {
    if (timer) return
    toldAt = Date.now()
    timer = setInterval(tell, everyMs)
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }

  return {
    pace(ackTimeoutMs) {
      const before = everyMs
      everyMs = ackTimeoutMs / 3 || UNHURRIED_MS
      if (!timer || everyMs === before) return
      stop()
      start()
    },
    start,
    catchUp() {
      if (timer && Date.now() - toldAt >= everyMs) tell()
    },
    stop,
  }
}
