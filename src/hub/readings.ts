import type { Core } from '../core/core.ts'
import type { Depth, NamespaceReading, Reading, StoreReading } from '../observability/metrics.ts'
import type { Hub } from './hub.ts'
import type { Namespace } from './namespace.ts'

/** How long the store may take for a scrape. */
const PATIENCE_MS = 2_000
/** How long its answer holds: who asks for metrics again and again must not keep the store busy. */
const FRESH_MS = 1_000
/** Namespaces with a name of their own in the metrics, since the hub began; whoever connects may name them. */
const NAMES_MAX = 50
/** No namespace is called so. */
const OTHERS = '_other'
/** Work queues of a namespace that are looked at for the age of what waits. */
const QUEUES_MAX = 200

const depth = (values: readonly number[]): Depth => ({
  sum: values.reduce((sum, value) => sum + value, 0),
  max: values.reduce((max, value) => Math.max(max, value), 0),
})

/** What is asked of a hub and its store when somebody scrapes its metrics. */
export class Readings {
  readonly #hub: Hub
  readonly #version: string
  readonly #names = new Set<string>()
  #stored: { readonly at: number; readonly found: ReadonlyMap<string, StoreReading> } | null = null

  constructor(hub: Hub, version: string) {
    this.#hub = hub
    this.#version = version
  }

  /** Never rejects, and takes little more than 2 s. */
  async read(): Promise<Reading> {
    const hub = this.#hub
    const named: Namespace[] = []
    const others: Namespace[] = []
    for (const namespace of hub.namespaces) (this.#isNamed(namespace.name) ? named : others).push(namespace)
    const [problems, stored] = await Promise.all([hub.storeProblems(), this.#readStore(named)])
    const connections = { greeting: 0, opening: 0, agent: 0, observer: 0 }
    const windows: number[] = []
    const waiting: number[] = []
    for (const { state, session } of hub.connections) {
      if (state === 'closing') continue
      connections[state === 'open' ? (session === null ? 'observer' : 'agent') : state]++
      if (session === null) continue
      windows.push(session.delivery.inFlight)
      waiting.push(session.delivery.backlog)
    }
    const byNamespace: NamespaceReading[] = named.map((one) => ({
      namespace: one.name,
      agents: agentsOf([one]),
      store: stored.get(one.name) ?? null,
    }))
    if (others.length > 0) byNamespace.push({ namespace: OTHERS, agents: agentsOf(others), store: null })
    return {
      hub: hub.id,
      core: hub.core.kind,
      version: this.#version,
      draining: hub.draining,
      storeUp: problems.length === 0,
      connections,
      sessions: windows.length,
      waitingBytes: hub.flusher.waitingBytes,
      window: depth(windows),
      inbox: depth(waiting),
      namespaces: named.length + others.length,
      byNamespace,
    }
  }

  #isNamed(name: string): boolean {
    if (this.#names.size < NAMES_MAX) this.#names.add(name)
    return this.#names.has(name)
  }

  /** Of each namespace for which the store answers in time. */
  async #readStore(namespaces: readonly Namespace[]): Promise<ReadonlyMap<string, StoreReading>> {
    const now = performance.now()
    if (this.#stored && now - this.#stored.at < FRESH_MS) return this.#stored.found
    const found = new Map<string, StoreReading>()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE_MS)))
    const asked = namespaces.map(async ({ name }) => {
      found.set(name, await readNamespace(this.#hub.core, name))
    })
    await Promise.race([late, Promise.allSettled(asked)])
    clearTimeout(timer)
    // A copy: what comes too late is not told in the middle of a later scrape.
    this.#stored = { at: now, found: new Map(found) }
    return this.#stored.found
  }
}

async function readNamespace({ queues, deadLetters }: Core, name: string): Promise<StoreReading> {
  const [backlog, dead] = await Promise.all([queues.backlog(name, QUEUES_MAX), deadLetters.count(name)])
  return {
    queues: backlog.queues,
    queueMessages: backlog.messages,
    queueOldestMs: backlog.oldestMs,
    deadLetters: dead.kept,
    deadLettersDropped: dead.dropped,
  }
}

function agentsOf(namespaces: readonly Namespace[]): Record<string, number> {
  const counts = { online: 0, degraded: 0, offline: 0 }
  for (const { replica } of namespaces) for (const { record } of replica.all()) counts[record.state.status]++
  return counts
}
