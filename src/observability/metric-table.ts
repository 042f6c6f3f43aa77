/** One metric: `docs/metrics.md` has the same table, and a test compares the two. */
export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  /** One sentence. */
  readonly help: string
  /** Upper bounds of a histogram's buckets, in seconds. */
  readonly buckets?: readonly number[]
}

const DELIVERY_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600]
const PROCESSING_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800,
]
const STORE_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5]

/** Every metric of a hub, besides those of its process. */
export const METRICS = {
  meshwire_hub_info: {
    type: 'gauge',
    labels: ['hub', 'version', 'core'],
    help: 'Always 1; the labels say which hub answers.',
  },
  meshwire_hub_draining: { type: 'gauge', labels: [], help: '1 while the hub shuts down.' },
  meshwire_store_up: {
    type: 'gauge',
    labels: [],
    help: '1 while the store answers, takes writes and brings signals; else 0, and what only the store knows is absent.',
  },
  meshwire_connections: {
    type: 'gauge',
    labels: ['state'],
    help: 'Open WebSockets: greeting and opening before their welcome, agent and observer after it.',
  },
  meshwire_connections_opened_total: { type: 'counter', labels: [], help: 'Handshakes that were done.' },
  meshwire_connections_closed_total: {
    type: 'counter',
    labels: ['by', 'code'],
    help: 'Connections that ended, by who closed them (hub or client) and close code; a client that is lost closes with 1006.',
  },
  meshwire_handshakes_refused_total: {
    type: 'counter',
    labels: ['status'],
    help: 'Upgrades to WebSocket answered with an HTTP status instead.',
  },
  meshwire_connection_holds_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Times a connection was read no further: rate (over ratePerSecond), behind (its client does not read the answers), store (the store is too slow), other.',
  },
  meshwire_socket_waiting_bytes: {
    type: 'gauge',
    labels: [],
    help: 'Bytes that wait for sockets with more than 64 KiB waiting.',
  },
  meshwire_errors_total: {
    type: 'counter',
    labels: ['code'],
    help: 'Frames and HTTP requests answered with an error, by its code.',
  },
  meshwire_sends_total: {
    type: 'counter',
    labels: ['kind', 'outcome'],
    help: 'Sends answered, by whichever door: accepted, duplicate (ok once more), refused (for good), failed (to be sent again).',
  },
  meshwire_messages_pushed_total: {
    type: 'counter',
    labels: ['kind'],
    help: 'Messages pushed to clients, each push counted.',
  },
  meshwire_messages_redelivered_total: {
    type: 'counter',
    labels: ['kind'],
    help: 'Those of the pushes that were not the first of their message to that agent.',
  },
  meshwire_messages_acknowledged_total: {
    type: 'counter',
    labels: ['kind'],
    help: 'Messages that clients acknowledged.',
  },
  meshwire_messages_rejected_total: {
    type: 'counter',
    labels: ['kind'],
    help: 'Messages that clients gave back (nack).',
  },
  meshwire_delivery_seconds: {
    type: 'histogram',
    labels: ['kind', 'path'],
    help: 'From the moment a hub took a message until its first push, by path: signal (pushed as it was stored), read (it waited in the store), claim (work).',
    buckets: DELIVERY_S,
  },
  meshwire_processing_seconds: {
    type: 'histogram',
    labels: ['kind'],
    help: 'From the push of a message until its acknowledgement.',
    buckets: PROCESSING_S,
  },
  meshwire_window_messages: {
    type: 'gauge',
    labels: [],
    help: 'Messages pushed and not acknowledged, of all agents connected here.',
  },
  meshwire_window_messages_max: {
    type: 'gauge',
    labels: [],
    help: 'The same of the agent that has most.',
  },
  meshwire_inbox_messages: {
    type: 'gauge',
    labels: [],
    help: 'Messages stored for agents connected here and not pushed yet: they wait for room in the window.',
  },
  meshwire_inbox_messages_max: {
    type: 'gauge',
    labels: [],
    help: 'The same of the agent that has most.',
  },
  meshwire_sessions: { type: 'gauge', labels: [], help: 'Agents connected to this hub.' },
  meshwire_namespaces: { type: 'gauge', labels: [], help: 'Namespaces that this hub has open.' },
  meshwire_agents: {
    type: 'gauge',
    labels: ['namespace', 'status'],
    help: 'Registered agents on the whole mesh, by status.',
  },
  meshwire_queues: {
    type: 'gauge',
    labels: ['namespace'],
    help: 'Work queues that are not empty.',
  },
  meshwire_queue_messages: {
    type: 'gauge',
    labels: ['namespace'],
    help: 'Entries of all work queues: waiting, delayed and held.',
  },
  meshwire_queue_oldest_seconds: {
    type: 'gauge',
    labels: ['namespace'],
    help: 'Age of the message that waits for a worker for longest; 0 where none waits.',
  },
  meshwire_dead_letters: {
    type: 'gauge',
    labels: ['namespace'],
    help: 'Dead letters that are kept.',
  },
  meshwire_dead_letters_dropped: {
    type: 'gauge',
    labels: ['namespace'],
    help: 'Dead letters lost because there were more than deadMax.',
  },
  meshwire_dead_letters_added_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Dead letters that this hub was told of, by reason; what a nack says counts as rejected. Each hub of a namespace counts each.',
  },
  meshwire_store_seconds: {
    type: 'histogram',
    labels: ['operation'],
    help: 'Time until the store has answered, by operation of the core.',
    buckets: STORE_S,
  },
  meshwire_store_failures_total: {
    type: 'counter',
    labels: ['operation'],
    help: 'Operations of the store that failed.',
  },
} as const satisfies Readonly<Record<string, MetricRow>>

export type MetricName = keyof typeof METRICS
