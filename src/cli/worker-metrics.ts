import type { Worker } from 'node:cluster'
import { mergeMetrics } from './merge-metrics.ts'

/** How long a worker may take to tell its metrics; it is asked its store for at most 2 s of that. */
const PATIENCE_MS = 3_000
/** How long a worker waits for the primary before it answers for itself alone. */
const ASK_MS = PATIENCE_MS + 1_000

/** What workers and their primary tell each other, so that whichever worker is scraped answers for all. */
export type MetricsMessage =
  /** Worker to primary: somebody has asked me. Primary to worker: tell me yours, by `metrics`. */
  | { readonly kind: 'scrape' }
  | { readonly kind: 'metrics'; readonly text: string }
  /** Primary to worker: those of all. */
  | { readonly kind: 'all'; readonly text: string }

export const isMetricsMessage = (message: unknown): message is MetricsMessage =>
  typeof message === 'object' && message !== null && 'kind' in message

/** In the primary: asks all workers for whoever is scraped. */
export class WorkerMetrics {
  readonly #numbers: () => ReadonlyMap<Worker, number>
  #asking = new Set<Worker>()
  readonly #waitedFor = new Set<Worker>()
  readonly #texts = new Map<number, string>()
  #timer: NodeJS.Timeout | null = null

  /** @param numbers the workers that listen, each with its number */
  constructor(numbers: () => ReadonlyMap<Worker, number>) {
    this.#numbers = numbers
  }

  onMessage(worker: Worker, message: MetricsMessage): void {
    if (message.kind === 'scrape') this.#onScrape(worker)
    else if (message.kind === 'metrics') this.#onMetrics(worker, message.text)
  }

  #onScrape(worker: Worker): void {
    this.#asking.add(worker)
    // Who asks while others are being asked gets the same answer.
    if (this.#timer !== null) return
    this.#timer = setTimeout(() => this.#answer(), PATIENCE_MS)
    for (const one of this.#numbers().keys()) {
      this.#waitedFor.add(one)
      one.send({ kind: 'scrape' } satisfies MetricsMessage)
    }
  }

  #onMetrics(worker: Worker, text: string): void {
    const number = this.#numbers().get(worker)
    // One that comes too late belongs to no question.
    if (!this.#waitedFor.delete(worker) || number === undefined) return
    this.#texts.set(number, text)
    if (this.#waitedFor.size === 0) this.#answer()
  }

  /** A worker has ended. */
  onExit(worker: Worker): void {
    this.#asking.delete(worker)
    if (this.#waitedFor.delete(worker) && this.#waitedFor.size === 0) this.#answer()
  }

  #answer(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    const asking = this.#asking
    this.#asking = new Set()
    this.#waitedFor.clear()
    const texts = new Map([...this.#texts].toSorted(([a], [b]) => a - b))
    this.#texts.clear()
    const text = mergeMetrics(texts)
    for (const worker of asking)
      if (worker.isConnected()) worker.send({ kind: 'all', text } satisfies MetricsMessage)
  }
}

/** In a worker: tells the primary its own metrics, and asks it for those of all. */
export class ScrapedWorker {
  /** Its own. */
  own: () => Promise<string> = () => Promise.resolve('')
  #waiting: ((text: string) => void)[] = []

  /** Those of all workers; its own where the primary does not answer. */
  scrape(): Promise<string> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => void this.own().then(resolve), ASK_MS)
      this.#waiting.push((text) => {
        clearTimeout(timer)
        resolve(text)
      })
      this.#tell({ kind: 'scrape' })
    })
  }

  onMessage(message: MetricsMessage): void {
    if (message.kind === 'scrape') {
      void this.own().then((text) => this.#tell({ kind: 'metrics', text }))
    } else if (message.kind === 'all') {
      const waiting = this.#waiting
      this.#waiting = []
      for (const resolve of waiting) resolve(message.text)
    }
  }

  #tell(message: MetricsMessage): void {
    // With the primary gone nobody asks, and this process is about to end.
    if (process.connected) process.send?.(message)
  }
}
