import type { Place } from './place.ts'

interface Waiting {
  place: Place
  timer: NodeJS.Timeout
}

// Timers end at 2^31 ms; a longer delay is looked at again then.
const TIMER_MAX_MS = 2 ** 31 - 1

/** Messages of one session that wait for the delay of their rejection; each keeps its place in the window. */
export class Rejected {
  readonly #waiting = new Map<string, Waiting>()
  readonly #onDue: (id: string, place: Place) => void

  /** @param onDue the delay may be over; until `delete` the message is still here */
  constructor(onDue: (id: string, place: Place) => void) {
    this.#onDue = onDue
  }

  placeOf(id: string): Place | undefined {
    return this.#waiting.get(id)?.place
  }

  places(): Place[] {
    return [...this.#waiting.values()].map(({ place }) => place)
  }

  /** Moves the message there where it is known already. */
  add(id: string, place: Place, delayMs: number): void {
    clearTimeout(this.#waiting.get(id)?.timer)
    const timer = setTimeout(() => this.#onDue(id, place), Math.min(delayMs, TIMER_MAX_MS))
    this.#waiting.set(id, { place, timer })
  }

  delete(id: string): void {
    this.#waiting.delete(id)
  }

  stop(): void {
    for (const { timer } of this.#waiting.values()) clearTimeout(timer)
  }
}
