/** Order is promised within a lane; of `queue` none is. */
export type Lane = 'inbox' | 'replies' | 'broadcast' | 'queue'

/** What a client, or the run itself, saw or did. `client` is one instance: an agent that starts again is another client. */
export type Happening =
  /** `handles`: the bundled client, which promises its application more than the wire does. */
  | {
      readonly kind: 'joined'
      readonly client: string
      readonly agent: string
      readonly handles: 'bundled' | 'raw'
    }
  | {
      readonly kind: 'session'
      readonly client: string
      readonly session: number
      readonly hub: string
      readonly resumed: boolean
    }
  /** The client gave up for good, of its own accord or told so by a hub; nobody closed it. */
  | { readonly kind: 'ended'; readonly client: string; readonly error: string }
  /**
   * Handed to the client, before it is written. `key` names the message in its payload. `owed`: the agents that have to process
   * it, each; null: one of all. `term`: sent as the leader of that term. `session`: written on that session and no other; null: on
   * whichever is open, again and again until it is answered.
   */
  | {
      readonly kind: 'sent'
      readonly client: string
      readonly key: string
      readonly lane: Lane
      readonly owed: readonly string[] | null
      readonly receipt: boolean
      readonly term: number | null
      readonly session: number | null
    }
  /** `code` null: ok. */
  | {
      readonly kind: 'answered'
      readonly client: string
      readonly key: string
      readonly id: string | null
      readonly code: string | null
    }
  /** Of the bundled client: its handler was called. */
  | {
      readonly kind: 'received'
      readonly client: string
      readonly session: number
      readonly key: string
      readonly id: string
      readonly lane: Lane
      readonly attempt: number
    }
  /** Acknowledged, or about to be. */
  | { readonly kind: 'processed'; readonly client: string; readonly key: string; readonly id: string }
  | {
      readonly kind: 'gave-back'
      readonly client: string
      readonly key: string
      readonly id: string
      readonly requeue: boolean
    }
  | { readonly kind: 'revoked'; readonly client: string; readonly id: string }
  /** `settledAt`: by the store's clock, ms since 1970. */
  | {
      readonly kind: 'receipt'
      readonly client: string
      readonly id: string
      readonly status: string
      readonly agent: string | null
      readonly reason: string | null
      readonly settledAt: number
    }
  /** The registry as listed: agent → what of it has a revision, as text. */
  | {
      readonly kind: 'list'
      readonly client: string
      readonly revision: number
      readonly agents: Readonly<Record<string, string>>
      readonly leader: string | null
      readonly term: number
    }
  /** `text`: the agent after the event; null where it is gone, and in `leader.changed`. */
  | {
      readonly kind: 'event'
      readonly client: string
      readonly revision: number
      readonly event: string
      readonly agent: string | null
      readonly text: string | null
      /** Of `leader.changed`. */
      readonly term: number | null
    }
  /** At the end: in the dead letters. */
  | {
      readonly kind: 'dead'
      readonly id: string | null
      readonly agent: string | null
      readonly reason: string
    }
  /** At the end: still stored for that agent, when everybody had drained. */
  | { readonly kind: 'kept'; readonly agent: string; readonly key: string; readonly id: string }
  /** For the reader: what was done to the system. */
  | { readonly kind: 'fault'; readonly fault: string; readonly over: boolean }
  /** The primary of the store is about to be replaced; `over`: nobody but the new one answers any more. See losses.ts. */
  | { readonly kind: 'failover'; readonly over: boolean }

/** `n` counts the whole history from 1; `at` is ms since 1970. */
export type Entry = Happening & { readonly n: number; readonly at: number }
export type EntryOf<Kind extends Happening['kind']> = Extract<Entry, { readonly kind: Kind }>
/** In the order it happened. */
export type History = readonly Entry[]

export function entriesOf<Kind extends Happening['kind']>(history: History, kind: Kind): EntryOf<Kind>[] {
  return history.filter((entry): entry is EntryOf<Kind> => entry.kind === kind)
}

/** Which agent each client is an instance of. */
export function agentsOf(history: History): ReadonlyMap<string, string> {
  return new Map(entriesOf(history, 'joined').map(({ client, agent }) => [client, agent]))
}

/** The ids under which `ok` was answered, by key, with the send. */
export interface Accepted {
  readonly sent: EntryOf<'sent'>
  readonly answered: EntryOf<'answered'> & { readonly id: string }
}

/** Sends that were answered `ok`, by key. */
export function acceptedOf(history: History): ReadonlyMap<string, Accepted> {
  const sends = new Map(entriesOf(history, 'sent').map((sent) => [sent.key, sent]))
  const accepted = new Map<string, Accepted>()
  for (const answered of entriesOf(history, 'answered')) {
    const sent = sends.get(answered.key)
    if (sent && answered.id !== null)
      accepted.set(answered.key, { sent, answered: { ...answered, id: answered.id } })
  }
  return accepted
}

/** Appends to a list in a map. */
export function put<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
