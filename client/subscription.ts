import type { AgentInfo } from '../protocol/agent.ts'
import { MeshError } from '../protocol/errors.ts'
import type { Event, EventKind, Snapshot } from '../protocol/pushes.ts'
import type { ErrorReply, LeaderInfo, Ok, SubscribeResult } from '../protocol/replies.ts'
import { retryDelay } from './backoff.ts'
import type { Asked } from './calls.ts'
import { closedError, handled } from './errors.ts'
import { Feed } from './feed.ts'
import { Mirror } from './mirror.ts'
import type { ListEvent, Watch, WatchEvent, WatchOptions } from './watch.ts'
import type { Where } from './where.ts'

/** What a subscription needs of its client. */
export interface SubscriptionPort {
  /** Asks on the open connection only; `settle` is called before the next frame is read. */
  ask(command: Asked, settle: (reply: Ok | ErrorReply) => void): void
  /** Frames of `subscription` belong to `owner` from now on. */
  bind(subscription: string, owner: Subscription): void
  closed(owner: Subscription, subscription: string | null): void
}

const ALWAYS = ['agent.*', 'leader.changed'] as const
const CHANGES: ReadonlySet<string> = new Set([
  'agent.registered',
  'agent.updated',
  'agent.status_changed',
  'agent.unregistered',
])

/** A watch and what keeps it true: subscribed again in each session, listed anew where it could not be continued. */
export class Subscription implements Watch {
  readonly ready: Promise<void>
  readonly #port: SubscriptionPort
  readonly #where: Where | null
  readonly #wanted: ReadonlySet<string>
  readonly #mirror = new Mirror()
  readonly #feed: Feed<WatchEvent>
  #readyNow: () => void = () => undefined
  #neverReady: (error: Error) => void = () => undefined
  #id: string | null = null
  #retry: ReturnType<typeof setTimeout> | null = null
  #failures = 0
  #listedBefore = false
  #closed = false

  constructor(port: SubscriptionPort, where: Where | null, options: WatchOptions) {
    this.#port = port
    // What has no JSON text has to fail here, not on a later connection.
    JSON.stringify(where)
    this.#where = where
    this.#wanted = new Set(options.events ?? ALWAYS)
    this.#feed = new Feed<WatchEvent>(
      options.bufferMax ?? 10_000,
      () => [this.#list('behind')],
      () => this.close(),
    )
    const ready = new Promise<void>((resolve, reject) => {
      this.#readyNow = resolve
      this.#neverReady = reject
    })
    this.ready = handled(ready)
  }

  get agents(): ReadonlyMap<string, AgentInfo> {
    return this.#mirror.agents
  }

  get revision(): number | null {
    return this.#mirror.revision
  }

  get leader(): LeaderInfo {
    return this.#mirror.leader
  }

  next(): Promise<IteratorResult<WatchEvent, undefined>> {
    return this.#feed.next()
  }

  return(): Promise<IteratorResult<WatchEvent, undefined>> {
    return this.#feed.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  close(): void {
    this.fail(null)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** Ends the watch with an error, or without. */
  fail(error: Error | null): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopRetry()
    this.#port.closed(this, this.#id)
    this.#neverReady(error ?? closedError('the watch had no list yet'))
    this.#feed.end(error)
  }

  /** A session is open: subscribes, from the revision that was reached. */
  resume(): void {
    if (this.#closed) return
    const since = this.#mirror.revision
    const events = [...new Set([...ALWAYS, ...this.#wanted])]
    const command = { type: 'subscribe', events, where: this.#where, since }
    this.#port.ask(command, (reply) => this.#answered(reply, since !== null))
  }

  /** The connection is gone, and the subscription with it. */
  lost(): void {
    this.#id = null
    this.#stopRetry()
    this.#mirror.interrupt()
  }

  /** A frame of this watch's subscription. */
  push(frame: Event | Snapshot): void {
    if (this.#closed) return
    if (frame.type === 'snapshot') {
      if (this.#mirror.page(frame)) this.#listed()
      return
    }
    this.#mirror.apply(frame)
    if (this.#wants(frame.event)) this.#feed.push(frame)
  }

  #answered(reply: Ok | ErrorReply, continued: boolean): void {
    if (reply.type === 'error') return this.#refused(MeshError.fromBody(reply.error))
    const result = reply.result as SubscribeResult
    this.#failures = 0
    if (this.#closed) {
      this.#port.closed(this, result.subscription)
      return
    }
    this.#id = result.subscription
    this.#port.bind(result.subscription, this)
    if (continued && !result.reset) this.#mirror.continue(result.leader)
    else if (this.#mirror.page(result)) this.#listed()
  }

  #refused(error: MeshError): void {
    if (this.#closed) return
    if (!error.retryable) return this.fail(error)
    this.#retry = setTimeout(
      () => this.resume(),
      error.retryAfterMs ?? retryDelay(++this.#failures, Math.random()),
    )
  }

  #listed(): void {
    this.#readyNow()
    this.#feed.restart(this.#list(this.#listedBefore ? 'reset' : 'first'))
    this.#listedBefore = true
  }

  #list(reason: ListEvent['reason']): ListEvent {
    const { agents, leader, revision } = this.#mirror
    return { event: 'list', reason, revision: revision ?? 0, agents: [...agents.values()], leader }
  }

  #wants(kind: EventKind): boolean {
    return this.#wanted.has(kind) || (CHANGES.has(kind) && this.#wanted.has('agent.*'))
  }

  #stopRetry(): void {
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
  }
}
