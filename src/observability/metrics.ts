/** What a message is when it is pushed: by the place it comes from. A broadcast that was rejected comes again from the inbox. */
export const PUSH_KINDS = ['direct', 'reply', 'broadcast', 'queue', 'transient'] as const
export type PushKind = (typeof PUSH_KINDS)[number]

/** What a `send` asks for. */
export const SEND_KINDS = ['direct', 'reply', 'broadcast', 'queue', 'transient'] as const
export type SendKind = (typeof SEND_KINDS)[number]

/** How a `send` was answered: `ok` now, `ok` once more, an error that ends it, an error after which it is to be sent again. */
export const SEND_OUTCOMES = ['accepted', 'duplicate', 'refused', 'failed'] as const
export type SendOutcomeName = (typeof SEND_OUTCOMES)[number]

/** How a message came to be pushed: as it was stored, or read from the store later. */
export type PushPath = 'signal' | 'read' | 'claim'

/**
 * What the parts of a hub tell of what they do; nobody else counts. Calls are cheap enough for every message and never throw.
 * Labels are bounded: what clients choose (ids, names, namespaces, capabilities) is none.
 */
export interface Metrics {
  /** A `send` has its answer. */
  sent(kind: SendKind, outcome: SendOutcomeName): void
  /** A message is being pushed for the `attempt`th time. Answers whether its times are to be measured: not all are where there are many. */
  pushed(kind: PushKind, attempt: number): boolean
  /** A message that is measured took so many milliseconds from its hub's taking it until its first push. */
  delivered(kind: PushKind, path: PushPath, ms: number): void
  /** Its client has acknowledged a message. */
  acknowledged(kind: PushKind): void
  /** A message that is measured took so many milliseconds from its push until it was acknowledged. */
  processed(kind: PushKind, ms: number): void
  /** Its client has given a message back. */
  rejected(kind: PushKind): void
  /** The store tells that a message became a dead letter. */
  deadLettered(reason: string): void
  /** A request was answered with an error. */
  failed(code: string): void
  /** A handshake is done. */
  opened(): void
  /** A connection is over: the hub closed it, or its client did or was lost. */
  closed(by: 'hub' | 'client', code: number): void
  /** A handshake was answered with this status instead. */
  refused(status: number): void
  /** A connection is read no further for a while. */
  held(reason: string): void
  /** An operation of the store took so many milliseconds. */
  stored(operation: string, ms: number, failed: boolean): void
}

const nothing = (): void => undefined

/** Counts nothing. */
export const NO_METRICS: Metrics = {
  sent: nothing,
  pushed: () => false,
  delivered: nothing,
  acknowledged: nothing,
  processed: nothing,
  rejected: nothing,
  deadLettered: nothing,
  failed: nothing,
  opened: nothing,
  closed: nothing,
  refused: nothing,
  held: nothing,
  stored: nothing,
}

/** What a hub is asked at a scrape. */
export interface Reading {
  readonly hub: string
  readonly core: string
  readonly version: string
  readonly draining: boolean
  /** The store answers, takes writes, and its signals come. */
  readonly storeUp: boolean
  readonly connections: Readonly<Record<string, number>>
  readonly sessions: number
  /** Bytes that wait for sockets which do not take them. */
  readonly waitingBytes: number
  /** Messages pushed and not acknowledged: of all sessions, and of the one that has most. */
  readonly window: Depth
  /** Messages stored for agents that are connected here and not pushed yet. */
  readonly inbox: Depth
  readonly namespaces: number
  readonly byNamespace: readonly NamespaceReading[]
}

export interface Depth {
  readonly sum: number
  readonly max: number
}

/** One namespace, or what all those beyond the bound have together. */
export interface NamespaceReading {
  readonly namespace: string
  readonly agents: Readonly<Record<string, number>>
  /** Null where the store did not tell. */
  readonly store: StoreReading | null
}

export interface StoreReading {
  readonly queues: number
  readonly queueMessages: number
  readonly queueOldestMs: number | null
  readonly deadLetters: number
  readonly deadLettersDropped: number
}
