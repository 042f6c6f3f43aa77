type Callback = (...args: unknown[]) => void

interface Timer {
  at: number
  order: number
  readonly every: number | null
  readonly run: () => void
  cancelled: boolean
}

/** What the program gets from `setTimeout`; nothing here keeps a process alive. */
class Handle {
  readonly timer: Timer

  constructor(timer: Timer) {
    this.timer = timer
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }
}

const realSetImmediate = globalThis.setImmediate
const START = Date.UTC(2026, 0, 1)

/** Time that passes when it is told to: timers run in order of time, then of their making, with everything they cause in between. */
export class VirtualClock {
  #now = 0
  #made = 0
  readonly #heap: Timer[] = []
  readonly #immediates: Timer[] = []

  /** Milliseconds since the start. */
  get now(): number {
    return this.#now
  }

  /** From now on the globals tell this time. */
  install(): void {
    const epoch = (): number => START + Math.floor(this.#now)
    const RealDate = Date
    globalThis.Date = class extends RealDate {
      constructor(...args: [] | [number | string]) {
        if (args.length === 0) super(epoch())
        else super(args[0])
      }

      static override now(): number {
        return epoch()
      }
    } as DateConstructor
    performance.now = () => this.#now
    const clear = (handle: unknown): void => {
      if (handle instanceof Handle) handle.timer.cancelled = true
    }
    Object.assign(globalThis, {
      setTimeout: (run: Callback, ms = 0, ...args: unknown[]) => this.#add(run, ms, null, args),
      setInterval: (run: Callback, ms = 0, ...args: unknown[]) => this.#add(run, ms, Math.max(1, ms), args),
      setImmediate: (run: Callback, ...args: unknown[]) => this.#immediate(run, args),
      clearTimeout: clear,
      clearInterval: clear,
      clearImmediate: clear,
    })
  }

  /** Begins anew: what was to come does not. */
  reset(): void {
    this.#now = 0
    this.#made = 0
    this.#heap.length = 0
    this.#immediates.length = 0
  }

  #timer(run: Callback, at: number, every: number | null, args: readonly unknown[]): Timer {
    return { at, order: this.#made++, every, run: () => run(...args), cancelled: false }
  }

  #add(run: Callback, ms: number, every: number | null, args: readonly unknown[]): Handle {
    const timer = this.#timer(run, this.#now + Math.max(0, ms), every, args)
    this.#push(timer)
    return new Handle(timer)
  }

  #immediate(run: Callback, args: readonly unknown[]): Handle {
    const timer = this.#timer(run, this.#now, null, args)
    this.#immediates.push(timer)
    return new Handle(timer)
  }

  /** Runs what is due next, and all promises it settles. Answers false where nothing is to come until `until`. */
  async step(until: number): Promise<boolean> {
    const timer = this.#immediates.shift() ?? this.#takeDue(until)
    if (timer === undefined) return false
    if (!timer.cancelled) {
      if (timer.at > this.#now) this.#now = timer.at
      timer.run()
      if (timer.every !== null && !timer.cancelled) {
        timer.at = this.#now + timer.every
        timer.order = this.#made++
        this.#push(timer)
      }
      await new Promise<void>((resolve) => realSetImmediate(resolve))
    }
    return true
  }

  /** Lets time pass until `until`, or until `done` says so. */
  async run(until: number, done: () => boolean = () => false): Promise<void> {
    while (!done() && (await this.step(until)));
    if (!done() && until > this.#now) this.#now = until
  }

  #takeDue(until: number): Timer | undefined {
    const first = this.#heap[0]
    return first === undefined || first.at > until ? undefined : this.#pop()
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let slot = heap.push(timer) - 1
    while (slot > 0) {
      const parent = (slot - 1) >> 1
      if (!isBefore(timer, heap[parent] as Timer)) break
      heap[slot] = heap[parent] as Timer
      slot = parent
    }
    heap[slot] = timer
  }

  #pop(): Timer {
    const heap = this.#heap
    const first = heap[0] as Timer
    const last = heap.pop() as Timer
    if (heap.length === 0) return first
    let slot = 0
    for (;;) {
      let child = 2 * slot + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child++
      if (!isBefore(heap[child] as Timer, last)) break
      heap[slot] = heap[child] as Timer
      slot = child
    }
    heap[slot] = last
    return first
  }
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)
