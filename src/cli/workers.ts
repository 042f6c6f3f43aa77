import cluster, { type Worker } from 'node:cluster'
import type { Settings } from '../config.ts'
import type { HubServer } from '../server.ts'
import { STOP_MS, stopper } from './stop.ts'
import { isMetricsMessage, type MetricsMessage, type ScrapedWorker, WorkerMetrics } from './worker-metrics.ts'

/** What a worker tells the primary once it listens. */
interface Listening {
  readonly id: string
  readonly url: string
  readonly port: number
}

/** A worker that lived this long (milliseconds) was good: the next one that ends is started again at once. */
const GOOD_AFTER_MS = 10_000
const RESTART_MIN_MS = 500
const RESTART_MAX_MS = 30_000

/** Whether this process is one of the workers of another one. */
export const isWorker = (): boolean => cluster.isWorker

/** In a worker: tells the primary that the hub listens, and drains when the primary says so, or is gone. */
export function serveAsWorker(hub: HubServer, scraped: ScrapedWorker): void {
  const stop = stopper(hub)
  const drain = (): void => {
    // No more connections come here from now on: the others take them.
    cluster.worker?.disconnect()
    stop()
  }
  scraped.own = () => hub.metrics()
  process.on('message', (message) => {
    if (isMetricsMessage(message)) scraped.onMessage(message)
    else drain()
  })
  cluster.worker?.once('disconnect', () => {
    // Node ends a worker whose primary is gone on the spot, unless it takes the parting for agreed.
    if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
    stop()
  })
  // A terminal sends Ctrl-C to the workers too; it is the primary's to pass on. SIGTERM to a worker alone restarts it in order.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', drain)
  process.send?.({ id: hub.id, url: hub.url, port: hub.port } satisfies Listening)
}

/**
 * N hub processes on one port: connections go to them in turn. One that ends is started again, with growing delays where it ends
 * again and again. Prints one line when all listen; on SIGTERM or SIGINT all drain, and this process ends when they have.
 */
export class Workers {
  readonly #count: number
  readonly #running = new Set<Worker>()
  readonly #ids = new Map<Worker, string>()
  /** From 1 on; one that replaces another gets its number. */
  readonly #numbers = new Map<Worker, number>()
  readonly #metrics = new WorkerMetrics(() => this.#listening())
  /** What workers are told to listen on: while there are any, all of them the same, for it is by this that they share a port. */
  #asked: number
  /** Where they listen. */
  #port: number
  #started = false
  #stopping = false
  #failures = 0
  #exitCode = 0

  constructor({ workers, port }: Settings) {
    this.#count = workers
    this.#asked = port
    this.#port = port
  }

  start(): void {
    process.on('SIGINT', () => this.#stop())
    process.on('SIGTERM', () => this.#stop())
    // The others when this one listens: what is wrong is said once.
    this.#fork()
  }

  #fork(): void {
    // With the last one any free port was given back, and clients know where they were.
    if (this.#running.size === 0) this.#asked = this.#port
    // The last one of a flag wins.
    cluster.setupPrimary({ args: [...process.argv.slice(2), '--port', String(this.#asked)] })
    const worker = cluster.fork()
    const startedAt = performance.now()
    this.#running.add(worker)
    this.#numbers.set(worker, this.#freeNumber())
    worker.on('message', (message: Listening | MetricsMessage) => {
      if (isMetricsMessage(message)) this.#metrics.onMessage(worker, message)
      else this.#onListening(worker, message)
    })
    // What cannot be told to a worker that is ending is told by its exit.
    worker.on('error', () => undefined)
    worker.on('exit', (code) => this.#onExit(worker, code, performance.now() - startedAt))
  }

  #freeNumber(): number {
    const taken = new Set(this.#numbers.values())
    let number = 1
    while (taken.has(number)) number++
    return number
  }

  /** Those that listen, each with its number. */
  #listening(): ReadonlyMap<Worker, number> {
    return new Map([...this.#numbers].filter(([worker]) => this.#ids.has(worker) && worker.isConnected()))
  }

  #onListening(worker: Worker, { id, url, port }: Listening): void {
    this.#port = port
    this.#ids.set(worker, id)
    if (this.#started) return
    if (this.#ids.size === 1) for (let i = 1; i < this.#count; i++) this.#fork()
    if (this.#ids.size < this.#count) return
    this.#started = true
    process.stdout.write(
      `Meshwire hubs ${[...this.#ids.values()].join(', ')} listen on ${url} (${this.#count} workers, core: Redis)\n`,
    )
  }

  #onExit(worker: Worker, code: number | null, livedMs: number): void {
    this.#running.delete(worker)
    this.#ids.delete(worker)
    this.#numbers.delete(worker)
    this.#metrics.onExit(worker)
    if (this.#stopping) {
      if (code !== 0) this.#exitCode = 1
      if (this.#running.size === 0) process.exit(this.#exitCode)
      return
    }
    if (!this.#started) {
      // It has said why; the others would fail alike.
      this.#exitCode = 1
      this.#end()
      return
    }
    this.#failures = livedMs >= GOOD_AFTER_MS ? 0 : this.#failures + 1
    const delayMs =
      this.#failures === 0 ? 0 : Math.min(RESTART_MAX_MS, RESTART_MIN_MS * 2 ** (this.#failures - 1))
    process.stderr.write(
      `meshwire: a worker ended with ${code ?? 'a signal'}; another one starts in ${delayMs} ms\n`,
    )
    setTimeout(() => {
      if (!this.#stopping) this.#fork()
    }, delayMs)
  }

  /** The first signal drains all, a second one ends them at once. */
  #stop(): void {
    if (this.#stopping) {
      this.#kill()
      process.exit(1)
    }
    this.#end()
  }

  #end(): void {
    this.#stopping = true
    if (this.#running.size === 0) process.exit(this.#exitCode)
    for (const worker of this.#running) {
      // One that does not listen yet has nothing to drain.
      if (this.#ids.has(worker)) worker.send('drain')
      else worker.process.kill('SIGKILL')
    }
    // The workers keep to the same time; this is for one that stands still.
    setTimeout(() => {
      this.#kill()
      process.exit(1)
    }, STOP_MS + 1_000)
  }

  #kill(): void {
    for (const worker of this.#running) worker.process.kill('SIGKILL')
  }
}
