export interface ScriptOptions {
  /** For how many messages; then what was scripted before holds again. Default: all that come. */
  readonly times?: number
}

export interface FailOptions extends ScriptOptions {
  /** False: a dead letter at once. Default true: it comes again, to whoever may have it. */
  readonly requeue?: boolean
  /** Milliseconds until it comes again. Default 0. */
  readonly delayMs?: number
}

/** What becomes of one message. `take`: acknowledged, nothing else. */
export type Step =
  | { readonly do: 'take' }
  /** `answer` is a value or a function of the message. */
  | { readonly do: 'reply'; readonly answer: unknown }
  | { readonly do: 'fail'; readonly reason: string; readonly requeue: boolean; readonly delayMs: number }
  | { readonly do: 'silent' }

interface Line {
  readonly step: Step
  left: number
}

/** Every type that has no lines of its own. */
export const ANY = '*'

const TAKE: Step = { do: 'take' }

/** What a fake agent was told to do, by message type; the latest line counts while it lasts. */
export class Script {
  readonly #lines = new Map<string, Line[]>()

  add(type: string, step: Step, { times = Infinity }: ScriptOptions): void {
    const lines = this.#lines.get(type) ?? []
    // A line without end makes all before it unreachable.
    this.#lines.set(type, times === Infinity ? [{ step, left: times }] : [...lines, { step, left: times }])
  }

  /** The step for the next message of a type; it counts as done. */
  next(type: string): Step {
    return this.#take(type) ?? this.#take(ANY) ?? TAKE
  }

  #take(type: string): Step | null {
    const line = this.#lines.get(type)?.findLast(({ left }) => left > 0)
    if (line === undefined) return null
    line.left -= 1
    return line.step
  }
}
