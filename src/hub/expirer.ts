import type { Core } from '../core/core.ts'
import { LOG, numberOf, type Place, REPLIES, sourceOf } from './place.ts'

const RETRY_MS = 1_000

export interface ExpirerOptions {
  readonly namespace: string
  readonly agentId: string
  /** Of the session. */
  readonly fence: number
  readonly core: Core
  readonly onError: (error: unknown) => void
  /** The store has given up an entry of the log, for this agent. */
  readonly onExpired: (place: Place) => void
}

/** Gives up messages of one session whose time to live was over before they could be pushed; until the store knows, it tries again. */
export class Expirer {
  readonly #options: ExpirerOptions
  readonly #timers = new Set<NodeJS.Timeout>()
  #stopped = false

  constructor(options: ExpirerOptions) {
    this.#options = options
  }

  expire(place: Place): void {
    this.#expire(place).catch((error: unknown) => {
      this.#options.onError(error)
      // A later session finds it expired, too.
      if (this.#stopped) return
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.expire(place)
      }, RETRY_MS)
      this.#timers.add(timer)
    })
  }

  async #expire(place: Place): Promise<void> {
    const { namespace, agentId, fence, core, onExpired } = this.#options
    const number = numberOf(place)
    if (sourceOf(place) === LOG) {
      const rejection = { agentId, fence, number, requeue: false, delayMs: 0, reason: 'expired' }
      await core.broadcasts.reject(namespace, rejection)
      onExpired(place)
    } else {
      const lane = sourceOf(place) === REPLIES ? 'replies' : 'inbox'
      await core.inboxes.expire(namespace, { agentId, lane, numbers: [number] })
    }
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
  }
}
