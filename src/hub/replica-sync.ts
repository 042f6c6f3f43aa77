import type { AgentRecord, Registry, RegistryEvent } from '../core/registry.ts'
import type { Log } from '../observability/log.ts'
import type { Replica } from './replica.ts'

/** How long an event may be missing before the store is asked for it. */
const GAP_MS = 50
const EVENTS_PAGE = 1_000
/** How long after a failure the store is asked again. */
const RETRY_MS = 1_000

export interface ReplicaSyncOptions {
  readonly namespace: string
  readonly registry: Registry
  readonly replica: Replica
  readonly log: Log
  /** Applies the next event to the replica. */
  readonly apply: (event: RegistryEvent) => void
  /**
   * The replica was loaded anew. `wentBack`: the store may have lost some of what this hub had seen of it; `before`: the agents as they were
   * seen.
   */
  readonly onReload: (wentBack: boolean, before: ReadonlyMap<string, AgentRecord>) => void
  readonly onError: (error: unknown) => void
}

/** Keeps the replica in step with the store: events in order of revision, missing ones read, and all of it anew where they are gone. */
export class ReplicaSync {
  readonly #options: ReplicaSyncOptions
  readonly #early = new Map<number, RegistryEvent>()
  #waiters: { revision: number; resolve: () => void }[] = []
  #timer: NodeJS.Timeout | null = null
  #catchingUp: Promise<void> | null = null
  #closed = false

  constructor(options: ReplicaSyncOptions) {
    this.#options = options
  }

  /** @throws MeshError `store_unavailable` */
  async load(): Promise<void> {
    const { namespace, registry, replica } = this.#options
    replica.load(await registry.snapshot(namespace))
  }

  /** Resolves when the replica has come to `revision`: what a client was told is done, it can see. */
  async reached(revision: number): Promise<void> {
    if (this.#options.replica.revision >= revision || this.#closed) return
    this.#schedule()
    await new Promise<void>((resolve) => {
      this.#waiters.push({ revision, resolve })
    })
  }

  /** An event as a signal or an answer brought it, in whatever order. */
  take(event: RegistryEvent): void {
    const { replica, apply } = this.#options
    const next = replica.revision + 1
    if (event.revision < next || this.#closed) return
    if (event.revision > next) {
      this.#early.set(event.revision, event)
      this.#schedule()
      return
    }
    for (
      let current: RegistryEvent | undefined = event;
      current;
      current = this.#early.get(replica.revision + 1)
    ) {
      this.#early.delete(current.revision)
      apply(current)
    }
    this.#resolveWaiters()
  }

  #resolveWaiters(): void {
    if (this.#waiters.length === 0) return
    const { revision } = this.#options.replica
    const due = this.#waiters.filter((waiter) => waiter.revision <= revision)
    this.#waiters = this.#waiters.filter((waiter) => waiter.revision > revision)
    for (const { resolve } of due) resolve()
  }

  #schedule(): void {
    if (this.#timer || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (this.#early.size > 0 || this.#waiters.length > 0) void this.catchUp()
    }, GAP_MS)
  }

  #retry(): void {
    if (this.#closed) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.catchUp()
    }, RETRY_MS)
  }

  /** Reads missing events from the store, or the registry anew where they are gone. Never rejects. */
  async catchUp(): Promise<void> {
    this.#catchingUp ??= this.#readEvents()
      .catch((error: unknown) => {
        this.#options.onError(error)
        this.#retry()
      })
      .finally(() => {
        this.#catchingUp = null
      })
    await this.#catchingUp
  }

  /** As `catchUp`, with all that the store has when this is asked: a look that is under way may have begun before. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#catchingUp) await this.#catchingUp
    await this.catchUp()
  }

  async #readEvents(): Promise<void> {
    const { namespace, registry, replica } = this.#options
    for (;;) {
      const { revision } = replica
      const { events, complete } = await registry.since(namespace, revision, EVENTS_PAGE)
      if (this.#closed) return
      if (!complete && replica.revision === revision) {
        if (await this.#reload()) continue
        return
      }
      for (const event of events) this.take(event)
      if (events.length < EVENTS_PAGE) return
    }
  }

  /** Loads the registry anew. @returns whether an epoch has ended: then what was told meanwhile looked old and was not taken */
  async #reload(): Promise<boolean> {
    const { namespace, registry, replica, log, onReload } = this.#options
    const snapshot = await registry.snapshot(namespace)
    if (this.#closed) return false
    const wentBack = snapshot.epoch !== replica.epoch
    // Events that came meanwhile have closed the gap.
    if (!wentBack && snapshot.revision <= replica.revision) return false
    log.warn({ revision: snapshot.revision, wentBack }, 'registry loaded anew')
    const before = new Map<string, AgentRecord>()
    if (wentBack) for (const { record } of replica.all()) before.set(record.id, record)
    replica.load(snapshot)
    for (const revision of this.#early.keys())
      if (wentBack || revision <= snapshot.revision) this.#early.delete(revision)
    onReload(wentBack, before)
    this.#resolveWaiters()
    return wentBack
  }

  close(): void {
    this.#closed = true
    if (this.#timer) clearTimeout(this.#timer)
    for (const { resolve } of this.#waiters) resolve()
    this.#waiters = []
  }
}
