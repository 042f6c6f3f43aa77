import type { MeshError } from '../protocol/errors.ts'
import type { Event, Snapshot } from '../protocol/pushes.ts'
import type { SubscribeResult } from '../protocol/replies.ts'
import { retryDelay } from './backoff.ts'
import type { Calls } from './calls.ts'
import { closedError } from './errors.ts'
import { createFeed } from './feed.ts'
import { createMirror } from './mirror.ts'
import { createPending } from './pending.ts'
import type { ListEvent, Watch, WatchEvent, WatchOptions } from './watch.ts'
import type { Where } from './where.ts'

const ALWAYS = ['agent.*', 'leader.changed'] as const
/** What `agent.*` means: heartbeats come only when named. */
const CHANGES = /^agent\.(?!heartbeat)/

/** A watch and what keeps it true: subscribed again in each session, listed anew where it could not be continued. */
interface Subscription {
  readonly watch: Watch
  /** Subscribes, from the revision that was reached. */
  resume(): void
  lost(): void
  push(frame: Event | Snapshot): void
  /** Ends the watch with an error, or without. */
  fail(error: Error | null): void
}

/** The watches of a client, and which subscription of the open connection belongs to which. */
export interface Subscriptions {
  open(where: Where | null, options: WatchOptions): Watch
  /** Gives a frame to its watch; one of a subscription that was given up is dropped. */
  push(frame: Event | Snapshot): void
  /** A session is open. */
  resume(): void
  /** The connection is gone, and every subscription with it. */
  lost(): void
  /** Ends every watch, by throwing the reason where there is one. */
  fail(error: Error, reason: Error | null): void
}

export function createSubscriptions(calls: Pick<Calls, 'once'>): Subscriptions {
  const watched = new Set<Subscription>()
  const byId = new Map<string, Subscription>()
  let online = false

  function unsubscribe(subscription: string | null): void {
    if (subscription === null || !online) return
    byId.delete(subscription)
    const told = (): void => undefined
    calls.once({ type: 'unsubscribe', subscription }, told, told)
  }

  function subscribe(
    where: Where | null,
    { events = ALWAYS, bufferMax = 10_000 }: WatchOptions,
  ): Subscription {
    const wanted: ReadonlySet<string> = new Set(events)
    const mirror = createMirror()
    const ready = createPending()
    const feed = createFeed<WatchEvent>(bufferMax, close, () => [list('behind')])
    let id: string | null = null
    let retry: ReturnType<typeof setTimeout> | undefined
    let failures = 0
    let closed = false

    function list(reason: ListEvent['reason']): ListEvent {
      const { agents, leader, revision } = mirror
      return { event: 'list', reason, revision: revision ?? 0, agents: [...agents.values()], leader }
    }

    function listed(): void {
      feed.restart(list(ready.open ? 'first' : 'reset'))
      ready.resolve()
    }

    function close(): void {
      subscription.fail(null)
    }

    function refused(error: Error): void {
      // Where it is the connection that is gone, the next one asks again.
      if (closed || !online) return
      const { retryable, retryAfterMs } = error as MeshError
      if (!retryable) return subscription.fail(error)
      retry = setTimeout(subscription.resume, retryAfterMs ?? retryDelay(++failures, Math.random()))
    }

    const subscription: Subscription = {
      watch: {
        next: feed.next,
        return: feed.return,
        ready: ready.promise,
        get agents() {
          return mirror.agents
        },
        get revision() {
          return mirror.revision
        },
        get leader() {
          return mirror.leader
        },
        [Symbol.asyncIterator]() {
          return this
        },
        close,
        async [Symbol.asyncDispose]() {
          close()
        },
      },
      resume() {
        const since = mirror.revision
        const command = { type: 'subscribe', events: [...new Set([...ALWAYS, ...events])], where, since }
        calls.once(
          command,
          (answer) => {
            const result = answer as SubscribeResult
            failures = 0
            if (closed) return unsubscribe(result.subscription)
            id = result.subscription
            byId.set(id, subscription)
            if (since !== null && !result.reset) mirror.continue(result.leader)
            else if (mirror.page(result)) listed()
          },
          refused,
        )
      },
      lost() {
        id = null
        clearTimeout(retry)
        mirror.interrupt()
      },
      push(frame) {
        if (frame.type === 'snapshot') {
          if (mirror.page(frame)) listed()
          return
        }
        mirror.apply(frame)
        const kind = frame.event
        if (wanted.has(kind) || (CHANGES.test(kind) && wanted.has('agent.*'))) feed.push(frame)
      },
      fail(error) {
        if (closed) return
        closed = true
        clearTimeout(retry)
        watched.delete(subscription)
        unsubscribe(id)
        ready.fail(error ?? closedError('the watch had no list yet'))
        feed.end(error)
      },
    }
    return subscription
  }

  return {
    open(where, options) {
      // What has no JSON text has to fail here, not on a later connection.
      JSON.stringify(where)
      const subscription = subscribe(where, options)
      watched.add(subscription)
      if (online) subscription.resume()
      return subscription.watch
    },
    push: (frame) => byId.get(frame.subscription)?.push(frame),
    resume() {
      online = true
      for (const subscription of watched) subscription.resume()
    },
    lost() {
      online = false
      byId.clear()
      for (const subscription of watched) subscription.lost()
    },
    fail(_error, reason) {
      online = false
      for (const subscription of watched) subscription.fail(reason)
    },
  }
}
