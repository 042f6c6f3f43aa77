import type { AgentFields } from '../protocol/agent.ts'
import * as LIMITS from '../protocol/limit-values.ts'
import type { Schemas } from './standard-schema.ts'
import { badFrame } from './errors.ts'
import type { Outbox } from './outgoing.ts'
import type { StatusEvent } from './status.ts'

interface CommonOptions {
  /** Where the hubs are, `ws:` or `wss:`, usually ending in `/mesh`. Of a list each is tried in turn, the first one first. */
  readonly url: string | readonly string[]
  /** 1 to 64 of `[a-z0-9-]`. Default `default`. */
  readonly namespace?: string
  /**
   * The token, or a function that is asked for a fresh one before each try to connect, where its failure counts as a failed try, and
   * before the one in use ends, so that the connection goes on.
   */
  readonly token?: string | (() => string | Promise<string>)
  /** Gives up connecting. After `connect` has resolved it has no effect; use `close()`. */
  readonly signal?: AbortSignal
  /** Told each status event, from the first try to connect on. What it throws goes to `console.error`, no further. */
  readonly onStatus?: (event: StatusEvent) => unknown
  /** Milliseconds that `request`, `discover`, `update` and `leader` wait, reconnecting included. Default 30,000. */
  readonly requestTimeoutMs?: number
  /** Milliseconds for a socket and its handshake, and before that for a token. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** Milliseconds that `close()` waits for handlers and answers. Default 5,000. */
  readonly closeTimeoutMs?: number
  /**
   * Sends, and as many commands, that may be without an answer; beyond, they reject with `overflow`, and nothing
   * that was taken is dropped. Default 10,000.
   */
  readonly maxOutgoing?: number
  /** Bytes of payload of the sends without an answer (one send is always taken). Default 67,108,864 (64 MiB). */
  readonly maxOutgoingBytes?: number
}

/** Options of a client that is an agent. */
export interface AgentOptions extends CommonOptions {
  readonly observer?: false
  /** 3 to 64 of `[A-Za-z0-9_-]`, unique in the namespace. */
  readonly name: string
  /** What others find this agent by: 1 to 20, each 2 to 32 of `[a-z0-9-]`. */
  readonly capabilities: readonly string[]
  /** 1 to 128 of `[A-Za-z0-9._:-]`; the inbox belongs to it. By default the hub makes one, kept while this client lives. */
  readonly id?: string
  /** The `session` of an earlier client with the same `id`: proof that the id is this one's, should that client seem alive. */
  readonly session?: string
  /** Semver. */
  readonly version?: string
  /** 0 to 20 strings of 1 to 64 characters. */
  readonly profiles?: readonly string[]
  /** What group messages reach this agent by: 0 to 20 strings of 1 to 64 characters. */
  readonly groups?: readonly string[]
  /** Where else it can be reached, at most 256 characters; the mesh does not use it. */
  readonly address?: string
  /** At most 64 keys and 16 KiB of JSON. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Work-queue messages taken at once, and besides them handlers of other messages that run at once: 1 to 1,024. Default 1. */
  readonly concurrency?: number
  /** Default true, of an ephemeral agent false. */
  readonly leaderEligible?: boolean
  /** Unregistered once its connection has been gone for the grace period, for tools and browser tabs. Default false. */
  readonly ephemeral?: boolean
  /** Messages without acknowledgement that the hub may push at once, in each lane: 1 to 10,000. Default 256. */
  readonly window?: number
  /** Milliseconds until a message whose handler threw may come again, where no `Nack` says otherwise. Default 1,000. */
  readonly redeliveryDelayMs?: number
  /**
   * Milliseconds that a message waits for a handler of its type while there are handlers of other types only; then it becomes
   * a dead letter, lest such messages fill the window and nothing else comes any more. Default 60,000.
   */
  readonly unhandledTimeoutMs?: number
  /**
   * Milliseconds that the first connection waits for a `name` or `id` that another live session holds (a crashed process holds
   * its name until the grace period is over), or for room in a namespace that has as many agents as it may. Then `connect` rejects. Later connections wait without end. Default 45,000.
   */
  readonly takenTimeoutMs?: number
  /**
   * Schemas by message type, of any library with the interface of https://standardschema.dev: of the payload, or `{ payload, reply }`.
   * What is sent against them rejects with `bad_frame`, what comes against them reaches no handler. By default nothing is checked.
   */
  readonly schemas?: Schemas
  /**
   * Keeps sends until they are answered, over a reload or restart: `fileOutbox`, `indexedDbOutbox` or one of your own
   * (`outboxOn`). Needs `id`. By default what has no answer is lost with its process or page.
   */
  readonly outbox?: Outbox
}

/** Options of a client that only looks: no agent, no inbox, nothing to send. */
export interface ObserverOptions extends CommonOptions {
  readonly observer: true
}

export type ConnectOptions = AgentOptions | ObserverOptions

/** What an agent may change of itself; each field that is given replaces the old one, `''`, `[]` and `{}` clear it. */
export interface UpdateFields {
  readonly status?: 'online' | 'degraded'
  readonly statusReason?: string
  readonly capabilities?: readonly string[]
  readonly version?: string
  readonly profiles?: readonly string[]
  readonly groups?: readonly string[]
  readonly address?: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly concurrency?: number
  readonly leaderEligible?: boolean
  /** Numbers by name, at most 64; no revision, they travel with the next heartbeat event. */
  readonly metrics?: Readonly<Record<string, number>>
}

/** The options with every default filled in. */
export interface Settings {
  readonly urls: readonly string[]
  readonly namespace: string | null
  readonly token: string | (() => string | Promise<string>) | null
  readonly onStatus: ((event: StatusEvent) => unknown) | null
  /** Null: an observer. */
  readonly agent: AgentFields | null
  readonly session: string | null
  readonly window: number
  readonly requestTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly maxOutgoing: number
  readonly maxOutgoingBytes: number
  readonly redeliveryDelayMs: number
  readonly unhandledTimeoutMs: number
  readonly takenTimeoutMs: number
  readonly schemas: Schemas | null
  readonly outbox: Outbox | null
}

const DEFAULTS = {
  namespace: null,
  token: null,
  onStatus: null,
  session: null,
  window: LIMITS.windowDefault,
  requestTimeoutMs: 30_000,
  connectTimeoutMs: 10_000,
  closeTimeoutMs: 5000,
  maxOutgoing: 10_000,
  maxOutgoingBytes: 67_108_864,
  redeliveryDelayMs: 1000,
  unhandledTimeoutMs: 60_000,
  takenTimeoutMs: 45_000,
  schemas: null,
} as const

const AGENT_FIELDS = [
  'id',
  'name',
  'capabilities',
  'version',
  'profiles',
  'groups',
  'address',
  'metadata',
  'concurrency',
  'leaderEligible',
  'ephemeral',
] as const

function checkUrl(url: string): void {
  if (!/^wss?:\/\//i.test(url) || !URL.canParse(url)) {
    throw badFrame(`url ${JSON.stringify(url)} must be like ws://127.0.0.1:7171/mesh`, url)
  }
}

/**
 * Fills in the defaults. What an agent may be called is the hub's to judge.
 * @throws MeshError `bad_frame` for a URL that is none
 */
export function toSettings(options: ConnectOptions): Settings {
  const urls = typeof options.url === 'string' ? [options.url] : [...options.url]
  if (urls.length === 0) throw badFrame('url is an empty list; give at least one hub')
  urls.forEach(checkUrl)
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value != null))
  const isAgent = options.observer !== true
  const agent = isAgent ? Object.fromEntries(AGENT_FIELDS.map((field) => [field, given[field]])) : null
  // What has no JSON text has to fail here, not when it is said to a hub.
  JSON.stringify(agent)
  return {
    ...DEFAULTS,
    ...given,
    urls,
    agent,
    outbox: (isAgent && options.outbox) || null,
  }
}
