/** A handshake that asks to be let in. */
export interface Entrant {
  /** Its peer has given up. */
  readonly gone: boolean
  enter(): void
  /** @param retryAfterS seconds after which to try again */
  refuse(retryAfterS: number): void
}

/** What may be made up for after a while without handshakes, or a while in which this process did not get its turn. */
const BURST_MS = 50
/** How often who stands in line is let in. */
const TICK_MS = 10
/** Seconds that the last one in line waits. */
const LINE_S = 1
const RETRY_MAX_S = 300

/**
 * Lets new connections in at a rate, so that a hub to which thousands come back at once goes on serving those it has. Who comes
 * above the rate stands in line for up to a second; who finds the line full is sent away with a time to come back at, and each with
 * another one, at the rate at which there will be room: so nobody has to come twice, as long as all keep to it.
 */
export class Admission {
  readonly #perSecond: number
  readonly #now: () => number
  readonly #burst: number
  #line: Entrant[] = []
  /** Where in `#line` the first one is that still waits. */
  #first = 0
  #room: number
  #filledAt: number
  /** Until when the places of those who were sent away last. */
  #promisedUntil = 0
  #timer: NodeJS.Timeout | null = null

  /** @param perSecond 0: everybody is let in at once */
  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#now = now
    this.#burst = Math.max(1, (perSecond * BURST_MS) / 1_000)
    this.#room = this.#burst
    this.#filledAt = now()
  }

  /** How many stand in line. */
  get waiting(): number {
    return this.#line.length - this.#first
  }

  ask(entrant: Entrant): void {
    if (this.#perSecond === 0) {
      entrant.enter()
      return
    }
    if (this.waiting === 0 && this.#takeRoom()) entrant.enter()
    else if (this.waiting < Math.max(1, this.#perSecond * LINE_S)) this.#queue(entrant)
    else entrant.refuse(this.#promise())
  }

  #takeRoom(): boolean {
    const now = this.#now()
    this.#room = Math.min(this.#burst, this.#room + ((now - this.#filledAt) * this.#perSecond) / 1_000)
    this.#filledAt = now
    if (this.#room < 1) return false
    this.#room--
    return true
  }

  #queue(entrant: Entrant): void {
    this.#line.push(entrant)
    this.#timer ??= setInterval(() => this.tick(), TICK_MS)
  }

  /** Seconds until there is a place for one more of those who were sent away. */
  #promise(): number {
    const now = this.#now()
    const lineMs = LINE_S * 1_000
    this.#promisedUntil = Math.max(this.#promisedUntil, now + lineMs) + 1_000 / this.#perSecond
    return Math.min(RETRY_MAX_S, Math.ceil((this.#promisedUntil - lineMs - now) / 1_000))
  }

  /** Lets in whom there is room for. */
  tick(): void {
    while (this.waiting > 0) {
      const entrant = this.#line[this.#first] as Entrant
      if (!entrant.gone) {
        if (!this.#takeRoom()) break
        entrant.enter()
      }
      this.#first++
    }
    if (this.waiting === 0) {
      this.#line = []
      this.#first = 0
      this.#stop()
    }
  }

  #stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Sends everybody in line away: there is no room here any more. */
  close(): void {
    this.#stop()
    const line = this.#line.slice(this.#first)
    this.#line = []
    this.#first = 0
    for (const entrant of line) entrant.refuse(0)
  }
}
