import type { Unread } from '../core/inboxes.ts'
import type { Namespace } from './namespace.ts'
import type { Session } from './session.ts'

/** Steps of a round: in each round every session is looked after once. */
const STEPS = 30
/** Sessions that one call asks about: a third of a millisecond of the store's time. */
const SESSIONS_MAX = 128

/**
 * Looks after what signals may have lost for the sessions of a namespace. Nearly always that is nothing: so the store is first asked, for
 * many sessions by one call, who has more than is known here, and only for those what it is.
 */
export class Sweep {
  readonly #namespace: Namespace
  readonly #sessions: ReadonlyMap<string, Session>
  /** Those of this round that are still to be looked after; who comes meanwhile comes last. */
  #rest: Iterator<Session> | null = null
  #done = 0
  #step = 0

  /** @param sessions that are here, now and later */
  constructor(namespace: Namespace, sessions: ReadonlyMap<string, Session>) {
    this.#namespace = namespace
    this.#sessions = sessions
  }

  /** To be called once a second. Few sessions wait for the end of the round, so that one call does for them; many are spread over it. */
  step(): void {
    this.#rest ??= this.#sessions.values()
    const left = STEPS - this.#step++
    for (let due = (this.#sessions.size - this.#done) / left; due >= SESSIONS_MAX; due -= SESSIONS_MAX)
      this.#look(this.#rest)
    if (left > 1) return
    while (this.#look(this.#rest));
    this.#rest = null
    this.#done = 0
    this.#step = 0
  }

  /** Answers whether there may be more. */
  #look(rest: Iterator<Session>): boolean {
    const asked: Session[] = []
    let count = 0
    for (let next = rest.next(); !next.done; next = rest.next()) {
      const session = next.value
      count++
      // Who is being opened, or has more waiting, will read in any case: there is nothing to compare with yet.
      if (session.connection.state !== 'open' || session.delivery.waiting) this.#namespace.ask(session)
      else asked.push(session)
      if (count === SESSIONS_MAX) break
    }
    this.#done += count
    if (asked.length > 0) this.#ask(asked)
    return count === SESSIONS_MAX
  }

  #ask(asked: readonly Session[]): void {
    const { name, core } = this.#namespace
    const readings = asked.map(({ delivery }) => delivery.reading)
    core.inboxes.unread(name, readings).then(
      (found) => this.#take(asked, found),
      (error: unknown) => {
        this.#namespace.onStoreError(error)
        // Each goes on asking until it is answered.
        for (const session of asked) if (!session.ended) this.#namespace.ask(session)
      },
    )
  }

  #take(asked: readonly Session[], found: readonly Unread[]): void {
    const unreadOf = new Map(found.map((unread) => [unread.agentId, unread]))
    for (const session of asked) {
      const { agentId, delivery, worker, ended } = session
      if (ended) continue
      const unread = unreadOf.get(agentId)
      if (unread?.inbox) delivery.askLane('inbox')
      if (unread?.replies) delivery.askLane('replies')
      delivery.askLog()
      // What only one of both knows of is as good as lost.
      if (unread?.work || worker.isBusy) this.#namespace.work.ask(worker)
    }
  }
}
