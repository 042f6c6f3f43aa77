import type { Hold, Queues, Release } from '../core/queues.ts'
import type { Worker } from './worker.ts'

const RETRY_MS = 500
/** Settlements of one call. */
const SETTLE_MAX = 2_000
/** Where the store is asked for what is due, how many at once. */
const TICK_MAX = 500
const TIMER_MAX_MS = 2 ** 31 - 1

/** What endings need of the work they end. */
export interface EndingsPort {
  onError(error: unknown): void
  /** The worker has room, or may have. */
  onRoom(worker: Worker): void
  /** A message given back waits in that queue again. */
  onQueued(capabilities: readonly string[]): void
}

/**
 * How work ends on this hub, for one namespace: what its agents have done with is settled, a turn's worth in one call, and what
 * they give back is released. While the store is down it is tried again.
 */
export class Endings {
  readonly #namespace: string
  readonly #queues: Queues
  readonly #port: EndingsPort
  #settling: { readonly worker: Worker; readonly hold: Hold }[] = []
  readonly #underWay = new Set<Promise<void>>()
  #retry: NodeJS.Timeout | null = null
  #tick: { readonly at: number; readonly timer: NodeJS.Timeout } | null = null
  #closed = false

  constructor(namespace: string, queues: Queues, port: EndingsPort) {
    this.#namespace = namespace
    this.#queues = queues
    this.#port = port
  }

  /** A worker has done with a message: told by the next `settle`. */
  add(worker: Worker, hold: Hold): void {
    this.#settling.push({ worker, hold })
  }

  /** Tells the store what was added. */
  settle(): void {
    const settling = this.#settling
    this.#settling = []
    for (let at = 0; at < settling.length; at += SETTLE_MAX) {
      const part = settling.slice(at, at + SETTLE_MAX)
      const holds = part.map(({ hold }) => hold)
      this.#run(
        this.#queues.settle(this.#namespace, holds).then(
          () => {
            for (const { worker, hold } of part) {
              worker.ended(hold)
              // A claim that came to the store before found it still holding this.
              this.#port.onRoom(worker)
            }
          },
          (error: unknown) => {
            this.#port.onError(error)
            // Settling twice is harmless.
            this.#settling.push(...part)
            this.#settleLater()
          },
        ),
      )
    }
  }

  #settleLater(): void {
    if (this.#closed) return
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      this.settle()
    }, RETRY_MS)
  }

  #run(telling: Promise<void>): void {
    const run = telling.finally(() => this.#underWay.delete(run))
    this.#underWay.add(run)
  }

  /** A worker gives a message back: rejected, or claimed too late for it. */
  giveBack(worker: Worker, capability: string, release: Release): void {
    this.#run(this.#giveBack(worker, capability, release))
  }

  async #giveBack(worker: Worker, capability: string, release: Release): Promise<void> {
    try {
      const result = await this.#queues.release(this.#namespace, release)
      worker.ended(release)
      this.#port.onRoom(worker)
      if (result.outcome !== 'requeued') return
      if (result.dueAt === null) this.#port.onQueued([capability])
      else this.#tickIn(result.dueAt - Date.now())
    } catch (error) {
      this.#port.onError(error)
      // A stopped worker's claims are handed on by the store itself when its grace period is over.
      if (worker.stopped || this.#closed) return
      setTimeout(() => {
        this.#port.onRoom(worker)
        this.giveBack(worker, capability, release)
      }, RETRY_MS).unref()
    }
  }

  /** A delay ends then: the reaper would see it too, a moment later. */
  #tickIn(ms: number): void {
    const wait = Math.max(1, Math.min(ms + 1, TIMER_MAX_MS))
    const at = Date.now() + wait
    if (this.#closed || (this.#tick && this.#tick.at <= at)) return
    if (this.#tick) clearTimeout(this.#tick.timer)
    const timer = setTimeout(() => {
      this.#tick = null
      this.tick().catch((error: unknown) => this.#port.onError(error))
    }, wait)
    this.#tick = { at, timer }
  }

  /** What time does to the queues of this namespace. @throws MeshError `store_unavailable` */
  async tick(): Promise<void> {
    while (!this.#closed && (await this.#queues.tick(this.#namespace, TICK_MAX)) >= TICK_MAX);
  }

  /** Resolves when what was said up to now is told to the store, or could not be. Never rejects. */
  async flush(): Promise<void> {
    this.settle()
    await Promise.all(this.#underWay)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#tick) clearTimeout(this.#tick.timer)
    await this.flush()
    if (this.#retry) clearTimeout(this.#retry)
  }
}
