import type { Flow, FromLoad, Percentiles, ToLoad } from './jobs.ts'

/** Tells the bench something. */
export function tell(message: FromLoad): void {
  process.send?.(message)
}

/** Lets the bench read what every process has used by now; resolves when it has. */
export async function mark(name: string, { collectGarbage = false } = {}): Promise<void> {
  const gone = new Promise<void>((resolve) => {
    const listener = (message: ToLoad): void => {
      if (message.type !== 'go') return
      process.off('message', listener)
      resolve()
    }
    process.on('message', listener)
  })
  tell({ type: 'mark', name, collectGarbage })
  await gone
}

/** The percentiles of `samples`, which are sorted by this. */
export function percentiles(samples: number[]): Percentiles {
  const sorted = Float64Array.from(samples).toSorted()
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `condition` holds, at most `ms`; says whether it does. */
export async function until(condition: () => boolean, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms
  while (!condition()) {
    if (performance.now() > deadline) return false
    await sleep(5)
  }
  return true
}

/** Counts one flow of messages, from before the first is sent until the last has completed. */
export class Meter {
  duplicates = 0
  errors = 0
  firstError: string | null = null
  #completed = 0
  #lastCompletedAt = 0
  #startedAt = 0
  #cpu = process.cpuUsage()
  readonly #latencies: number[] = []

  async start(): Promise<void> {
    await mark('start')
    this.#cpu = process.cpuUsage()
    this.#startedAt = performance.now()
  }

  completed(now: number): void {
    this.#completed++
    this.#lastCompletedAt = now
  }

  /** A message reached its receiver after so many milliseconds. */
  delivered(latencyMs: number): void {
    this.#latencies.push(latencyMs)
  }

  error(text: string): void {
    this.errors++
    this.firstError ??= text
  }

  /** What was measured; `lost` is what is still missing. */
  async stop(lost: number): Promise<Flow> {
    await mark('stop')
    const { user, system } = process.cpuUsage(this.#cpu)
    const seconds = (this.#lastCompletedAt - this.#startedAt) / 1000
    return {
      seconds,
      completed: this.#completed,
      perSecond: this.#completed / seconds,
      latency: percentiles(this.#latencies),
      generatorCpu: (user + system) / 1e6 / seconds,
      lost,
      duplicates: this.duplicates,
      errors: this.errors,
      firstError: this.firstError,
    }
  }
}
