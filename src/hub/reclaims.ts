import type { Namespace } from './namespace.ts'
import type { Session } from './session.ts'

const RETRY_MS = 1_000
/** How long the news of who has the agent now may take. */
const NEWS_MS = 1_000
/** What was refused as lost is answered within this of the session's being taken back. */
const LATE_MS = 10_000

/**
 * Sessions of this hub that the registry has as lost: the hub gave no sign of life for its lease, or could not reach the store.
 * Each is taken back by its fence while nobody else has its agent; else its socket is closed.
 */
export class Reclaims {
  readonly #namespace: Namespace
  readonly #underWay = new Map<Session, Promise<boolean>>()
  /** When sessions were taken back, by `performance.now()`. */
  readonly #takenAt = new WeakMap<Session, number>()

  constructor(namespace: Namespace) {
    this.#namespace = namespace
  }

  /** The session was lost, and is not taken back yet. */
  has(session: Session): boolean {
    return this.#underWay.has(session)
  }

  /** Answers whether the session is the agent's (again); if not, it ends. Never rejects. */
  take(session: Session): Promise<boolean> {
    const known = this.#underWay.get(session)
    if (known) return known
    const taking = this.#take(session).finally(() => this.#underWay.delete(session))
    this.#underWay.set(session, taking)
    return taking
  }

  /**
   * The store refused something of this session. It counts as lost, or did when that was refused, or is over; where it is neither,
   * the store contradicts itself, and the client is to begin anew.
   */
  async onFenced(session: Session): Promise<void> {
    await this.#namespace.catchUp()
    if (session.ended || !(await this.take(session)) || session.ended) return
    const takenAt = this.#takenAt.get(session) ?? Number.NEGATIVE_INFINITY
    if (performance.now() - takenAt > LATE_MS) session.connection.close('hub_failed')
  }

  async #take(session: Session): Promise<boolean> {
    const { name, hub, core } = this.#namespace
    const { agentId, fence } = session.sender
    while (!session.ended && !this.#namespace.closed) {
      try {
        const result = await core.registry.reclaim(name, { agentId, fence, hub })
        if (result.outcome === 'fenced') break
        if (result.events.length > 0) this.#takenAt.set(session, performance.now())
        this.#namespace.onEvents(result.events)
        // Signals may have gone nowhere meanwhile, and work of its may be another one's.
        if (!session.ended) this.#namespace.ask(session)
        return true
      } catch (error) {
        this.#namespace.onStoreError(error)
        await this.#namespace.pause(RETRY_MS)
      }
    }
    // Which one has the agent, events and signals tell (4409); where they tell of none, its client has to come back.
    await this.#namespace.catchUp()
    if (!session.ended) await this.#namespace.pause(NEWS_MS)
    if (!session.ended) session.connection.close('hub_failed')
    return false
  }
}
