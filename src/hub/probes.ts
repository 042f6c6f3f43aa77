import { nanoid } from 'nanoid'
import type { Signal } from '../core/bus.ts'
import type { Namespace } from './namespace.ts'

/** How long a session may take to answer before a newcomer wins. */
const ANSWER_MS = 2_000
/** A session that was asked is left alone for so long; until then it counts as alive. */
const AGAIN_MS = 10_000

/**
 * Whether the session that holds an id is alive, asked when a newcomer without proof wants the id. The session may be on
 * another hub; one that does not answer for its session counts as dead with it.
 */
export class Probes {
  readonly #namespace: Namespace
  readonly #waiting = new Map<string, (alive: boolean) => void>()
  /** When a session was last asked, by agent id and fence. */
  readonly #askedAt = new Map<string, number>()

  constructor(namespace: Namespace) {
    this.#namespace = namespace
  }

  async isAlive(agentId: string, hub: string, fence: number): Promise<boolean> {
    if (hub === this.#namespace.hub) return this.#isAliveHere(agentId, fence)
    const probe = nanoid()
    const alive = new Promise<boolean>((resolve) => this.#waiting.set(probe, resolve))
    const timer = setTimeout(() => this.#answer(probe, false), ANSWER_MS)
    this.#namespace.core.bus.publish(this.#namespace.name, hub, {
      kind: 'probe',
      agentId,
      fence,
      probe,
      replyTo: this.#namespace.hub,
    })
    try {
      return await alive
    } finally {
      clearTimeout(timer)
    }
  }

  async #isAliveHere(agentId: string, fence: number): Promise<boolean> {
    if (this.#namespace.opening.has(fence)) return true
    const session = this.#namespace.session(agentId)
    if (session?.sender.fence !== fence) return false
    const key = `${fence}:${agentId}`
    const now = Date.now()
    for (const [old, at] of this.#askedAt) if (now - at > AGAIN_MS) this.#askedAt.delete(old)
    if (this.#askedAt.has(key)) return true
    this.#askedAt.set(key, now)
    // Less than the asking hub waits, so that its own limit is not what decides.
    return session.connection.isAlive(ANSWER_MS - 100)
  }

  onProbe({ agentId, fence, probe, replyTo }: Signal & { kind: 'probe' }): void {
    this.#isAliveHere(agentId, fence).then(
      (alive) => {
        if (alive) this.#namespace.core.bus.publish(this.#namespace.name, replyTo, { kind: 'probed', probe })
      },
      (error: unknown) => this.#namespace.onStoreError(error),
    )
  }

  onProbed(probe: string): void {
    this.#answer(probe, true)
  }

  #answer(probe: string, alive: boolean): void {
    this.#waiting.get(probe)?.(alive)
    this.#waiting.delete(probe)
  }

  close(): void {
    for (const probe of [...this.#waiting.keys()]) this.#answer(probe, true)
  }
}
