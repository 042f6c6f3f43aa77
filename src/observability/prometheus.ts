import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { CLOSE_CODES } from '../../protocol/close-codes.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { DEAD_REASONS } from '../../protocol/message.ts'
import { METRICS, type MetricName, type MetricRow } from './metric-table.ts'
import {
  type Metrics,
  type NamespaceReading,
  PUSH_KINDS,
  type PushKind,
  type PushPath,
  type Reading,
  SEND_KINDS,
  SEND_OUTCOMES,
  type SendKind,
  type SendOutcomeName,
} from './metrics.ts'
import { Sampler } from './sampler.ts'

/** `Content-Type` of what `scrape` answers. */
export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** Close codes that are told apart; of all others the client has thought. */
const KNOWN_CODES: ReadonlySet<number> = new Set([
  ...Object.values(CLOSE_CODES),
  1001,
  1002,
  1005,
  1006,
  1007,
  1008,
  1011,
])
const HOLDS = ['rate', 'behind', 'store']
/** All others are words of a `nack`. */
const OF_HUBS: ReadonlySet<string> = new Set(DEAD_REASONS)

let ofProcess: Registry | null = null

/** CPU, memory, event loop, garbage collection: one set for all hubs of a process, since its observers can't be taken back. */
function processRegistry(): Registry {
  if (ofProcess === null) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

type Counts<Name extends string> = Record<Name, number>

const zeros = <Name extends string>(names: readonly Name[]): Counts<Name> =>
  Object.fromEntries(names.map((name) => [name, 0])) as Counts<Name>

const monotonic = (): number => performance.now()

/**
 * What a hub counts, as Prometheus reads it. What happens to every message is counted in plain integers, which the registry is told
 * at a scrape.
 */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry()
  readonly #process = processRegistry()
  readonly #sampler = new Sampler()
  readonly #sends = Object.fromEntries(SEND_KINDS.map((kind) => [kind, zeros(SEND_OUTCOMES)])) as Record<
    SendKind,
    Counts<SendOutcomeName>
  >
  readonly #pushed = zeros(PUSH_KINDS)
  readonly #redelivered = zeros(PUSH_KINDS)
  readonly #acknowledged = zeros(PUSH_KINDS)
  readonly #rejected = zeros(PUSH_KINDS)
  readonly #delivery = this.#histogram('meshwire_delivery_seconds')
  readonly #processing = this.#histogram('meshwire_processing_seconds')
  readonly #store = this.#histogram('meshwire_store_seconds')
  readonly #storeFailures = this.#counter('meshwire_store_failures_total')
  /** Those that have been told of. */
  readonly #operations = new Set<string>()
  readonly #opened = this.#counter('meshwire_connections_opened_total')
  readonly #closed = this.#counter('meshwire_connections_closed_total')
  readonly #refused = this.#counter('meshwire_handshakes_refused_total')
  readonly #holds = this.#counter('meshwire_connection_holds_total')
  readonly #errors = this.#counter('meshwire_errors_total')
  readonly #dead = this.#counter('meshwire_dead_letters_added_total')
  readonly #sendsTotal = this.#counter('meshwire_sends_total')
  readonly #byKind = [
    [this.#counter('meshwire_messages_pushed_total'), this.#pushed],
    [this.#counter('meshwire_messages_redelivered_total'), this.#redelivered],
    [this.#counter('meshwire_messages_acknowledged_total'), this.#acknowledged],
    [this.#counter('meshwire_messages_rejected_total'), this.#rejected],
  ] as const
  readonly #gauges = new Map<string, Gauge>()
  readonly #read: () => Promise<Reading>
  #scraping: Promise<string> | null = null

  /** @param read asks the hub for what is looked at only at a scrape; bounded in time, and never rejects */
  constructor(read: () => Promise<Reading>) {
    this.#read = read
    for (const [name, { type }] of Object.entries(METRICS))
      if (type === 'gauge') this.#gauges.set(name, new Gauge(this.#options(name as MetricName)))
    this.#begin()
  }

  /** What alerts ask for begins with 0: of a series that begins with its first event, Prometheus would not see that one. */
  #begin(): void {
    this.#dead.inc({ reason: 'rejected' }, 0)
    for (const reason of DEAD_REASONS) this.#dead.inc({ reason }, 0)
    for (const reason of HOLDS) this.#holds.inc({ reason }, 0)
    for (const code of Object.keys(ERRORS)) this.#errors.inc({ code }, 0)
    for (const code of Object.values(CLOSE_CODES)) this.#closed.inc({ by: 'hub', code: String(code) }, 0)
    for (const status of ['429', '503']) this.#refused.inc({ status }, 0)
  }

  #options(name: MetricName): { name: string; help: string; labelNames: string[]; registers: Registry[] } {
    const { help, labels }: MetricRow = METRICS[name]
    return { name, help, labelNames: [...labels], registers: [this.#registry] }
  }

  #counter(name: MetricName): Counter {
    return new Counter(this.#options(name))
  }

  #histogram(name: MetricName): Histogram {
    const { buckets = [] }: MetricRow = METRICS[name]
    return new Histogram({ ...this.#options(name), buckets: [...buckets] })
  }

  sent(kind: SendKind, outcome: SendOutcomeName): void {
    this.#sends[kind][outcome]++
  }

  pushed(kind: PushKind, attempt: number): boolean {
    this.#pushed[kind]++
    if (attempt > 1) this.#redelivered[kind]++
    return this.#sampler.take(monotonic)
  }

  delivered(kind: PushKind, path: PushPath, ms: number): void {
    this.#delivery.observe({ kind, path }, ms / 1_000)
  }

  acknowledged(kind: PushKind): void {
    this.#acknowledged[kind]++
  }

  processed(kind: PushKind, ms: number): void {
    this.#processing.observe({ kind }, ms / 1_000)
  }

  rejected(kind: PushKind): void {
    this.#rejected[kind]++
  }

  deadLettered(reason: string): void {
    this.#dead.inc({ reason: OF_HUBS.has(reason) ? reason : 'rejected' })
  }

  failed(code: string): void {
    this.#errors.inc({ code })
  }

  opened(): void {
    this.#opened.inc()
  }

  closed(by: 'hub' | 'client', code: number): void {
    this.#closed.inc({ by, code: KNOWN_CODES.has(code) ? String(code) : 'other' })
  }

  refused(status: number): void {
    this.#refused.inc({ status: String(status) })
  }

  held(reason: string): void {
    this.#holds.inc({ reason: HOLDS.includes(reason) ? reason : 'other' })
  }

  stored(operation: string, ms: number, failed: boolean): void {
    this.#store.observe({ operation }, ms / 1_000)
    if (!failed && this.#operations.has(operation)) return
    // Begins with 0 too.
    this.#operations.add(operation)
    this.#storeFailures.inc({ operation }, failed ? 1 : 0)
  }

  /** All metrics as text. Several that ask at once are answered alike. */
  scrape(): Promise<string> {
    this.#scraping ??= this.#scrape().finally(() => (this.#scraping = null))
    return this.#scraping
  }

  async #scrape(): Promise<string> {
    this.#tell(await this.#read())
    this.#tellCounts()
    const texts = await Promise.all([this.#registry.metrics(), this.#process.metrics()])
    return texts.join('\n')
  }

  #tellCounts(): void {
    this.#sendsTotal.reset()
    for (const kind of SEND_KINDS)
      for (const outcome of SEND_OUTCOMES) this.#sendsTotal.inc({ kind, outcome }, this.#sends[kind][outcome])
    for (const [counter, counts] of this.#byKind) {
      counter.reset()
      for (const kind of PUSH_KINDS) counter.inc({ kind }, counts[kind])
    }
  }

  #set(name: MetricName, value: number, labels: Readonly<Record<string, string>> = {}): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  #tell(reading: Reading): void {
    for (const gauge of this.#gauges.values()) gauge.reset()
    const { hub, version, core, window, inbox } = reading
    this.#set('meshwire_hub_info', 1, { hub, version, core })
    this.#set('meshwire_hub_draining', reading.draining ? 1 : 0)
    this.#set('meshwire_store_up', reading.storeUp ? 1 : 0)
    for (const [state, count] of Object.entries(reading.connections))
      this.#set('meshwire_connections', count, { state })
    this.#set('meshwire_sessions', reading.sessions)
    this.#set('meshwire_socket_waiting_bytes', reading.waitingBytes)
    this.#set('meshwire_window_messages', window.sum)
    this.#set('meshwire_window_messages_max', window.max)
    this.#set('meshwire_inbox_messages', inbox.sum)
    this.#set('meshwire_inbox_messages_max', inbox.max)
    this.#set('meshwire_namespaces', reading.namespaces)
    for (const one of reading.byNamespace) this.#tellNamespace(one)
  }

  #tellNamespace({ namespace, agents, store }: NamespaceReading): void {
    for (const [status, count] of Object.entries(agents))
      this.#set('meshwire_agents', count, { namespace, status })
    if (store === null) return
    const labels = { namespace }
    this.#set('meshwire_queues', store.queues, labels)
    this.#set('meshwire_queue_messages', store.queueMessages, labels)
    this.#set('meshwire_queue_oldest_seconds', (store.queueOldestMs ?? 0) / 1_000, labels)
    this.#set('meshwire_dead_letters', store.deadLetters, labels)
    this.#set('meshwire_dead_letters_dropped', store.deadLettersDropped, labels)
  }
}
