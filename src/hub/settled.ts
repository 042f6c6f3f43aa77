import type { Cursor } from '../core/broadcasts.ts'
import type { Lane } from '../core/inboxes.ts'
import { LogCursor } from './log-cursor.ts'
import { LOG, numberOf, type Place, REPLIES, sourceOf } from './place.ts'
import type { Settler } from './settler.ts'

/** What one session has done with and the store does not know yet: entries of its lanes to be deleted, and its place in the log. */
export class Settled {
  readonly agentId: string
  readonly #settler: Settler
  readonly #cursor: LogCursor
  readonly #logStart: number
  /** Acknowledged and not yet deleted. */
  #numbers: Record<Lane, number[]> = { inbox: [], replies: [] }
  readonly #logPushed: () => number
  readonly #epoch: number
  #forgotten = false

  /** @param logPushed the last number of the log that was looked at */
  constructor(agentId: string, settler: Settler, cursor: Cursor, logPushed: () => number) {
    this.agentId = agentId
    this.#settler = settler
    this.#epoch = settler.epoch
    this.#cursor = new LogCursor(cursor)
    this.#logStart = cursor.upTo
    this.#logPushed = logPushed
  }

  /** What is here names entries that are gone, or others by now: none of it is ever told. */
  forget(): void {
    this.#forgotten = true
    this.#numbers = { inbox: [], replies: [] }
  }

  /** Nothing of it is to be told. */
  get isVoid(): boolean {
    return this.#forgotten || this.#epoch !== this.#settler.epoch
  }

  add(place: Place): void {
    if (this.isVoid) return
    const source = sourceOf(place)
    if (source === LOG) {
      this.#cursor.settle(numberOf(place))
      this.#settler.touch(this)
    } else {
      this.#numbers[source === REPLIES ? 'replies' : 'inbox'].push(numberOf(place))
      this.#settler.add(this)
    }
  }

  /** An entry of the log was pushed, or is about to be: open until it is added. */
  open(number: number): void {
    this.#cursor.push(number)
  }

  /** An earlier session has settled that entry of the log. */
  hasLog(number: number): boolean {
    return this.#cursor.isSettled(number)
  }

  /** The entries of a lane that are still to be deleted; whoever takes them deletes them. */
  take(lane: Lane): number[] {
    const numbers = this.#numbers[lane]
    if (numbers.length > 0) this.#numbers[lane] = []
    return numbers
  }

  /** Not deleted after all. */
  putBack(lane: Lane, numbers: readonly number[]): void {
    if (this.isVoid) return
    this.#numbers[lane] = [...numbers, ...this.#numbers[lane]]
  }

  /** The place in the log; whoever takes it tells it. */
  takeCursor(): Cursor {
    return this.#cursor.take(this.#logPushed())
  }

  /** Not told after all. */
  putBackCursor({ beyond }: Cursor): void {
    this.#cursor.putBack(beyond)
  }

  /** The log was read beyond the stored cursor, be it that nothing of it was owed to this agent. */
  get hasReadLog(): boolean {
    return !this.isVoid && this.#logPushed() > this.#logStart
  }
}
