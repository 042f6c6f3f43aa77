import type { Nack } from '../../protocol/commands.ts'
import type { Core } from '../core/core.ts'
import type { Entry, Rejection, RejectResult } from '../core/inboxes.ts'
import { type Flight, kindOf } from './flight.ts'
import { INBOX, LOG, numberOf, type Place, placeOf, sourceNameOf, sourceOf } from './place.ts'
import { Rejected } from './rejected.ts'

/** Milliseconds until the store is asked again that could not be. */
const RETRY_MS = 1_000
/** A delay with fewer milliseconds left counts as over. */
const SLACK_MS = 5

/** An entry as the store has it now. */
export type Stored = Pick<Entry, 'text' | 'rejections' | 'expiresAt' | 'dueAt'>

export interface RedeliveryOptions {
  readonly namespace: string
  readonly agentId: string
  /** Of the session. */
  readonly fence: number
  readonly core: Core
  readonly flight: Flight
  readonly onError: (error: unknown) => void
}

/** What becomes of a place in the session's window. */
export interface RedeliveryPort {
  /** The delay is over: the message is pushed again. */
  push(id: string, place: Place, entry: Stored): void
  /** The store gives an entry of the log to this agent no more. */
  settle(place: Place): void
  /** It was moved from the log to the inbox, under that number, and has its place already. */
  moved(number: number): void
  /** The message is gone from the window. */
  free(place: Place): void
  /** So it is, because its time to live was over. */
  expire(place: Place): void
}

/** Messages of one session that its client gave back, until they are pushed again or given up; each keeps its place in the window. */
export class Redelivery {
  readonly #options: RedeliveryOptions
  readonly #port: RedeliveryPort
  readonly #rejected: Rejected
  #stopped = false

  constructor(options: RedeliveryOptions, port: RedeliveryPort) {
    this.#options = options
    this.#port = port
    this.#rejected = new Rejected((id, place) => {
      this.#pushAgain(id, place).catch(options.onError)
    })
  }

  placeOf(id: string): Place | undefined {
    return this.#rejected.placeOf(id)
  }

  places(): Place[] {
    return this.#rejected.places()
  }

  /** Pushes it after that time; moves it there where it is known already. */
  wait(id: string, place: Place, delayMs: number): void {
    this.#rejected.add(id, place, delayMs)
  }

  /**
   * The client gives back what it held at `place`.
   * @throws MeshError `store_unavailable`; then it is pushed again later, and not counted as rejected
   */
  async reject({ id, requeue, delayMs, reason }: Nack, place: Place): Promise<void> {
    const { agentId, fence, flight } = this.#options
    flight.rejected(kindOf(place), id)
    const rejection = {
      agentId,
      fence,
      number: numberOf(place),
      requeue: requeue ?? true,
      delayMs: delayMs ?? 0,
      reason: reason || null,
    }
    let result: RejectResult
    try {
      result = await this.#tell(place, rejection)
    } catch (error) {
      // Not counted, so that the next try is no worse than the first.
      if (!this.#stopped) this.wait(id, place, Math.max(rejection.delayMs, RETRY_MS))
      throw error
    }
    if (this.#stopped) return
    const isOfLog = sourceOf(place) === LOG
    // Cut off the log meanwhile: it stays open, so that the next reading of the cursor tells of it.
    if (isOfLog && result.outcome !== 'gone') this.#port.settle(place)
    if (result.outcome !== 'requeued') {
      this.#port.free(place)
      return
    }
    if (isOfLog) this.#port.moved(result.number)
    this.wait(id, isOfLog ? placeOf(INBOX, result.number) : place, rejection.delayMs)
  }

  #tell(place: Place, rejection: Rejection): Promise<RejectResult> {
    const { namespace, core } = this.#options
    const source = sourceNameOf(place)
    return source === 'log'
      ? core.broadcasts.reject(namespace, rejection)
      : core.inboxes.reject(namespace, source, rejection)
  }

  async #pushAgain(id: string, place: Place): Promise<void> {
    let entry: Stored | null
    try {
      entry = await this.#read(place)
    } catch {
      // The store is down: the message waits with it. Failures of the store are told where commands fail.
      if (!this.#stopped) this.wait(id, place, RETRY_MS)
      return
    }
    if (this.#stopped) return
    const now = Date.now()
    if (entry && entry.dueAt !== null && entry.dueAt > now + SLACK_MS) {
      this.wait(id, place, entry.dueAt - now)
      return
    }
    this.#rejected.delete(id)
    if (!entry) this.#port.free(place)
    else if (entry.expiresAt !== null && entry.expiresAt <= now) this.#port.expire(place)
    else this.#port.push(id, place, entry)
  }

  /** Null: the store has it no more. @throws MeshError `store_unavailable` */
  async #read(place: Place): Promise<Stored | null> {
    const { namespace, agentId, core } = this.#options
    const source = sourceNameOf(place)
    const number = numberOf(place)
    if (source === 'log') {
      const found = (await core.broadcasts.read(namespace, number - 1, 1)).entries[0]
      return found?.number === number ? { ...found, rejections: 0, dueAt: null } : null
    }
    const found = (await core.inboxes.read(namespace, agentId, source, number - 1, 1)).entries[0]
    return found?.number === number ? found : null
  }

  stop(): void {
    this.#stopped = true
    this.#rejected.stop()
  }
}
