/** Milliseconds that one connection's client may take of a turn of the event loop, before all others have had theirs. */
export const SHARE_MS = 4

/** Turns of the event loop, numbered where somebody asks. */
export class Turns {
  #number = 0
  #counting = false

  get now(): number {
    if (!this.#counting) {
      this.#counting = true
      setImmediate(() => {
        this.#counting = false
        this.#number++
      })
    }
    return this.#number
  }
}

/** What one connection takes of each turn: however much comes on it at once, the hub goes on serving the others in between. */
export class Share {
  readonly #turns: Turns
  #turn = -1
  #endsAt = 0

  constructor(turns: Turns) {
    this.#turns = turns
  }

  /** Something is about to be worked on: where it is the first of this turn, the share begins. */
  begin(): void {
    const turn = this.#turns.now
    if (turn === this.#turn) return
    this.#turn = turn
    this.#endsAt = performance.now() + SHARE_MS
  }

  get isUsedUp(): boolean {
    return performance.now() > this.#endsAt
  }
}
