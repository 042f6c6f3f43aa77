/** Something that happened, as one of the agents saw it. */
export interface Happened {
  readonly at: number
  readonly who: string
  readonly what: string
  readonly [field: string]: unknown
}

/** Everything that the agents did and saw, in order. */
export class History {
  readonly events: Happened[] = []
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  add(who: string, what: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.events.push({ at: Math.round(this.#now() * 10) / 10, who, what, ...fields })
  }

  /** All that names one of these ids or agents, as lines. */
  about(words: readonly (string | number)[]): string {
    return this.events
      .map((event) => JSON.stringify(event))
      .filter((line) => words.some((word) => line.includes(JSON.stringify(word))))
      .join('\n')
  }
}
