import type { AgentInfo } from '../protocol/agent.ts'
import type { Event, EventKind } from '../protocol/pushes.ts'
import type { LeaderInfo } from '../protocol/replies.ts'

/**
 * The list as it is now; whatever the reader knew before is replaced. `first`: the watch begins. `reset`: the hub could not
 * continue (too long away, or its store lost data). `behind`: the reader was too slow, so what waited was dropped.
 */
export interface ListEvent {
  readonly event: 'list'
  readonly reason: 'first' | 'reset' | 'behind'
  readonly revision: number
  readonly agents: readonly AgentInfo[]
  readonly leader: LeaderInfo
}

/** What a watch yields, told apart by `event`. */
export type WatchEvent = ListEvent | Event

export interface WatchOptions {
  /**
   * Kinds of events to yield: `agent.*` for the four kinds of changes, or single kinds; `agent.heartbeat` and
   * `message.dead_lettered` come only when named. Default `['agent.*', 'leader.changed']`. The map follows all changes anyway.
   */
  readonly events?: readonly (EventKind | 'agent.*')[]
  /** Events that may wait for the reader; beyond, they are dropped and one `list` takes their place. Default 10,000. */
  readonly bufferMax?: number
}

/**
 * A live view of the registry: `agents` is the map, the iterator tells what changed (one reader; it begins with a `list`).
 * Both go on over reconnections from the revision they have reached. Leaving the loop, `close()` and `await using` end it.
 */
export interface Watch extends AsyncIterableIterator<WatchEvent, undefined> {
  /** Resolves when the first list is complete; rejects when the hub refuses the subscription or the watch ends first. */
  readonly ready: Promise<void>
  /** Every agent that matches, by id, as of `revision`. The same object only until the next `list`. */
  readonly agents: ReadonlyMap<string, AgentInfo>
  /** The revision that `agents` shows; null before the first list. */
  readonly revision: number | null
  /** The namespace's leader and its term, whether it matches or not; term 0 before the first list. */
  readonly leader: LeaderInfo
  /** Drops what waits and ends the watch. */
  return(): Promise<IteratorResult<WatchEvent, undefined>>
  [Symbol.asyncIterator](): Watch
  /** Ends the watch; the iterator is done after what waits. Repeating it is safe. */
  close(): void
  [Symbol.asyncDispose](): Promise<void>
}
