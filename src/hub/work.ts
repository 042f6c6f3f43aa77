import type { Hold, Queues, Release, Task } from '../core/queues.ts'
import { Endings } from './endings.ts'
import type { Worker } from './worker.ts'

/** Workers and messages of one claim. */
const CLAIMANTS_MAX = 64
const CLAIM_MAX = 256
const RETRY_MS = 500
/** Sweeps in which every queue is looked at, and how many queues one looks at at least. */
const SWEEPS = 6
const SWEEP_MIN = 100

/** A work queue that agents of this hub serve. */
interface Served {
  readonly workers: Set<Worker>
  /** Messages may wait that somebody here could have. */
  waiting: boolean
  /** A claim is under way. */
  busy: boolean
  /** Workers passed over by the latest claim, for their room was reserved for other queues: tried again when they have it back. */
  readonly skipped: Set<Worker>
  /** Since the claim under way was made, somebody may have room, or may have what was not for them then. */
  chance: boolean
  /** Grows with each claim: the queue that was claimed from longest ago goes first, or one could starve another. */
  turn: number
}

/**
 * The work queues of one namespace on this hub: claims messages for its agents that have room, and tells the store what
 * became of them. A claim is made when something begins to wait, and when somebody has room again while something may wait;
 * one claim a queue is under way at a time, for as many workers as have room.
 */
export class Work {
  readonly #namespace: string
  readonly #queues: Queues
  readonly #onError: (error: unknown) => void
  readonly #served = new Map<string, Served>()
  /** Queues to be claimed from at the end of this turn. */
  readonly #due = new Set<string>()
  readonly #endings: Endings
  /** Claims. */
  readonly #underWay = new Set<Promise<void>>()
  /** The store is being asked what they hold; one question each. */
  readonly #asking = new Set<Worker>()
  /** To be done as soon as the store may answer again. */
  readonly #toAsk = new Set<Worker>()
  readonly #toClaim = new Set<string>()
  #again: NodeJS.Timeout | null = null
  #turns = 0
  #scheduled = false
  #sweepFrom = 0
  #paused = false
  #closed = false

  constructor(namespace: string, queues: Queues, onError: (error: unknown) => void) {
    this.#namespace = namespace
    this.#queues = queues
    this.#onError = onError
    this.#endings = new Endings(namespace, queues, {
      onError,
      onRoom: (worker) => this.onRoom(worker),
      onQueued: (capabilities) => this.onQueued(capabilities),
    })
  }

  add(worker: Worker): void {
    for (const capability of worker.capabilities) this.#serve(worker, capability)
  }

  #serve(worker: Worker, capability: string): void {
    let served = this.#served.get(capability)
    if (!served) {
      served = { workers: new Set(), waiting: true, busy: false, skipped: new Set(), chance: false, turn: 0 }
      this.#served.set(capability, served)
    }
    served.workers.add(worker)
    served.waiting = true
    this.#claimLater(capability)
  }

  remove(worker: Worker): void {
    for (const capability of worker.capabilities) this.#unserve(worker, capability)
  }

  #unserve(worker: Worker, capability: string): void {
    const served = this.#served.get(capability)
    served?.workers.delete(worker)
    served?.skipped.delete(worker)
    if (served?.workers.size === 0 && !served.busy) this.#served.delete(capability)
  }

  /** The worker's registration has changed. */
  change(worker: Worker, capabilities: readonly string[], concurrency: number): void {
    worker.concurrency = concurrency
    if (!worker.started) {
      worker.capabilities = capabilities
      return
    }
    for (const capability of worker.capabilities)
      if (!capabilities.includes(capability)) this.#unserve(worker, capability)
    const added = capabilities.filter((capability) => !worker.capabilities.includes(capability))
    worker.capabilities = capabilities
    for (const capability of added) this.#serve(worker, capability)
    this.onRoom(worker)
  }

  /** Something may wait in these queues. */
  onQueued(capabilities: readonly string[]): void {
    for (const capability of capabilities) {
      const served = this.#served.get(capability)
      if (!served) continue
      served.waiting = true
      this.#claimLater(capability)
    }
  }

  /** Workers of these queues have room, or agents elsewhere came or went: what waited for others may be for somebody here now. */
  onChance(capabilities: readonly string[]): void {
    for (const capability of capabilities) {
      const served = this.#served.get(capability)
      if (served?.busy) served.chance = true
      else if (served?.waiting) this.#claimLater(capability)
    }
  }

  /** Nobody can say any more what was missed: something may wait in every queue. */
  lookAgain(): void {
    this.onQueued([...this.#served.keys()])
  }

  /** The worker has room, or may have. */
  onRoom(worker: Worker): void {
    this.onChance(worker.capabilities)
  }

  /** Asks the store again what this worker holds, until it answers: the answer to a claim, or word of a loss, may have been lost. */
  ask(worker: Worker): void {
    if (worker.stopped || this.#closed) return
    if (this.#asking.has(worker)) {
      // What is lost now the question under way may have come too early for.
      this.#askLater([worker])
      return
    }
    this.#asking.add(worker)
    worker.beginReconcile()
    this.#queues
      .held(this.#namespace, worker.agentId)
      .then(
        (stored) => {
          worker.reconcile(stored)
          this.onQueued(worker.capabilities)
        },
        (error: unknown) => {
          this.#onError(error)
          this.#askLater([worker])
        },
      )
      .finally(() => this.#asking.delete(worker))
  }

  #askLater(workers: readonly Worker[]): void {
    for (const worker of workers) this.#toAsk.add(worker)
    this.#again ??= setTimeout(() => {
      this.#again = null
      const asked = [...this.#toAsk]
      const claimed = [...this.#toClaim]
      this.#toAsk.clear()
      this.#toClaim.clear()
      for (const worker of asked) this.ask(worker)
      for (const capability of claimed) this.#claimLater(capability)
    }, RETRY_MS).unref()
  }

  /** Asks the store for some of the queues whether anything waits: signals may have been lost. To be called again and again. */
  sweep(): void {
    const capabilities = [...this.#served.keys()]
    const count = Math.min(capabilities.length, Math.max(SWEEP_MIN, Math.ceil(capabilities.length / SWEEPS)))
    for (let i = 0; i < count; i++)
      void this.#look(capabilities[this.#sweepFrom++ % capabilities.length] ?? '')
  }

  /** A claim takes far more of the store's time than the size of a queue, and most queues are empty. Never rejects. */
  async #look(capability: string): Promise<void> {
    try {
      if ((await this.#queues.size(this.#namespace, capability)) === 0) return
    } catch (error) {
      this.#onError(error)
    }
    this.onQueued([capability])
  }

  #claimLater(capability: string): void {
    this.#due.add(capability)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      // Before the claims of the same turn, so that the store sees the room there is.
      this.#endings.settle()
      const turnOf = (capability: string): number => this.#served.get(capability)?.turn ?? 0
      const due = [...this.#due].toSorted((a, b) => turnOf(a) - turnOf(b))
      this.#due.clear()
      for (const capability of due) this.#claim(capability)
    })
  }

  /** Who has room, the least busy first, with how much of it may be asked for. */
  #claimants(served: Served): { readonly worker: Worker; readonly room: number }[] {
    const free: { worker: Worker; room: number }[] = []
    served.skipped.clear()
    for (const worker of served.workers) {
      const { room } = worker
      if (room > 0) free.push({ worker, room })
      else if (worker.isReserved) served.skipped.add(worker)
    }
    if (free.length > 1) free.sort((a, b) => b.room - a.room)
    let left = CLAIM_MAX
    return free.slice(0, CLAIMANTS_MAX).flatMap(({ worker, room }) => {
      const part = Math.min(room, left)
      left -= part
      return part > 0 ? { worker, room: part } : []
    })
  }

  #claim(capability: string): void {
    const served = this.#served.get(capability)
    if (!served?.waiting || served.busy || this.#paused || this.#closed) return
    const claimants = this.#claimants(served)
    if (claimants.length === 0) return
    served.waiting = false
    served.chance = false
    served.busy = true
    served.turn = ++this.#turns
    const asked = claimants.map(({ worker, room }) => worker.reserve(room))
    const run = this.#queues
      .claim(this.#namespace, capability, asked)
      .then(
        ({ tasks, left }) => this.#claimed(served, capability, claimants, tasks, left),
        (error: unknown) => this.#claimFailed(served, capability, claimants, error),
      )
      .finally(() => {
        this.#underWay.delete(run)
        if (served.workers.size === 0 && this.#served.get(capability) === served)
          this.#served.delete(capability)
      })
    this.#underWay.add(run)
  }

  #claimed(
    served: Served,
    capability: string,
    claimants: readonly { readonly worker: Worker; readonly room: number }[],
    tasks: readonly (Task & { readonly agentId: string })[],
    left: number,
  ): void {
    served.busy = false
    let asked = 0
    for (const { worker, room } of claimants) {
      asked += room
      worker.unreserve(room)
    }
    const workerById = new Map(claimants.map(({ worker }) => [worker.agentId, worker]))
    for (const task of tasks) {
      const worker = workerById.get(task.agentId)
      // A hub that shuts down keeps what its agents have, and gives them no more.
      if (this.#paused) worker?.decline(task)
      else worker?.take(task)
    }
    // More came while the claim was under way, or it took all it asked for: then there may be room for more. What is left
    // otherwise was not for these workers then: the next one that has room asks for it.
    if (served.waiting || (left > 0 && (tasks.length >= asked || served.chance))) {
      served.waiting = true
      this.#claimLater(capability)
    } else if (left > 0) {
      served.waiting = true
    }
    for (const { worker } of claimants) this.#retrySkipped(worker)
  }

  /** A reservation was given back: queues that found no room meanwhile try again. */
  #retrySkipped(worker: Worker): void {
    for (const capability of worker.capabilities)
      if (this.#served.get(capability)?.skipped.delete(worker)) this.onChance([capability])
  }

  /** Whether messages were claimed is not known: the store is asked when it answers again. */
  #claimFailed(
    served: Served,
    capability: string,
    claimants: readonly { readonly worker: Worker; readonly room: number }[],
    error: unknown,
  ): void {
    this.#onError(error)
    served.busy = false
    served.waiting = true
    for (const { worker, room } of claimants) {
      worker.unreserve(room)
      this.#retrySkipped(worker)
    }
    this.#toClaim.add(capability)
    this.#askLater(claimants.map(({ worker }) => worker))
  }

  /** A worker has done with a message. */
  settle(worker: Worker, hold: Hold): void {
    this.#endings.add(worker, hold)
    this.#schedule()
    this.onRoom(worker)
  }

  /** A worker gives a message back: rejected, or claimed too late for it. While the store is down it is tried again. */
  giveBack(worker: Worker, { capability }: { readonly capability: string }, release: Release): void {
    this.onRoom(worker)
    this.#endings.giveBack(worker, capability, release)
  }

  /** What time does to the queues of this namespace. @throws MeshError `store_unavailable` */
  tick(): Promise<void> {
    return this.#endings.tick()
  }

  /** From now on nothing is claimed, and what is being claimed is given back: the hub is shutting down. */
  pause(): void {
    this.#paused = true
  }

  /** Resolves when what was said up to now is told to the store, or could not be. Never rejects. */
  async flush(): Promise<void> {
    await Promise.all([this.#endings.flush(), ...this.#underWay])
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#again) clearTimeout(this.#again)
    await Promise.all([this.#endings.close(), ...this.#underWay])
  }
}
