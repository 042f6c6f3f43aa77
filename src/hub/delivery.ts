import type { Nack } from '../../protocol/commands.ts'
import { addMark, attemptOf, type Mark, parseMarks, withAttempt } from '../core/attempts.ts'
import type { Cursor } from '../core/broadcasts.ts'
import type { Core } from '../core/core.ts'
import type { Entry, Lane, Reading } from '../core/inboxes.ts'
import type { PushMarks } from '../core/registry.ts'
import type { PushPath } from '../observability/metrics.ts'
import { Expirer } from './expirer.ts'
import { Feed } from './feed.ts'
import { type Flight, kindOf } from './flight.ts'
import type { LogReader } from './log-reader.ts'
import { idOf } from './message-text.ts'
import type { Outbox } from './outbox.ts'
import {
  INBOX,
  LOG,
  numberOf,
  type Place,
  placeOf,
  REPLIES,
  type Source,
  sourceNameOf,
  sourceOf,
} from './place.ts'
import { Redelivery } from './redelivery.ts'
import { Settled } from './settled.ts'
import type { Settler } from './settler.ts'
import type { WiredBroadcast } from './wired-broadcast.ts'

/** An entry with its id, where that is known without looking. */
interface Arrived extends Entry {
  readonly id?: string | undefined
}

export interface DeliveryOptions {
  readonly namespace: string
  readonly agentId: string
  /** Of the session. */
  readonly fence: number
  readonly core: Core
  readonly outbox: Outbox
  readonly flight: Flight
  readonly settler: Settler
  readonly log: LogReader
  /** Of each lane; broadcasts share that of the inbox. */
  readonly window: number
  /** Of earlier sessions. */
  readonly marks: PushMarks
  readonly onError: (error: unknown) => void
  /** A place in the inbox's window became free. */
  readonly onRoom: () => void
  /** The store has lost what this session has pushed: only a new session finds its place again. */
  readonly onWentBack: () => void
}

/**
 * One session's window. What was pushed and not acknowledged is here by id; what waits beyond the window is in the store
 * and only its number is known.
 */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #held = new Map<string, Place>()
  readonly #redelivery: Redelivery
  readonly #expirer: Expirer
  readonly settled: Settled
  readonly #lanes: Record<Lane, Feed<Arrived>>
  readonly #log: Feed<WiredBroadcast>
  readonly #marks: Record<Source, Mark[]>
  readonly #count: Record<Lane, number> = { inbox: 0, replies: 0 }
  /** Inbox numbers that a rejected broadcast was moved to: they have their place already. */
  readonly #moved = new Set<number>()
  /** Messages that the client works on, as their senders were told. */
  readonly #begun = new Set<string>()
  #started = false
  #pullScheduled = false
  #logFirst = false
  #stopped = false

  constructor(options: DeliveryOptions, cursor: Cursor) {
    this.#options = options
    const { marks } = options
    this.#redelivery = new Redelivery(options, {
      push: (id, place, entry) => this.#push(id, place, entry, 'read'),
      settle: (place) => this.settled.add(place),
      moved: (number) => {
        this.#moved.add(number)
        this.#lanes.inbox.offer(number, null)
      },
      free: (place) => this.#free(place),
      expire: (place) => {
        this.#free(place)
        this.#expirer.expire(place)
      },
    })
    this.#expirer = new Expirer({ ...options, onExpired: (place) => this.settled.add(place) })
    this.#marks = {
      inbox: parseMarks(marks.inbox),
      replies: parseMarks(marks.replies),
      log: parseMarks(marks.broadcasts),
    }
    this.#lanes = { inbox: this.#lane('inbox'), replies: this.#lane('replies') }
    this.settled = new Settled(options.agentId, options.settler, cursor, () => this.#log.pushed)
    this.#log = new Feed<WiredBroadcast>(
      {
        read: (after, limit) => this.#readLog(after, limit),
        take: (entry, read) => this.#takeBroadcast(entry, read),
        room: () => this.#room('inbox'),
        wentBack: () => this.#options.onWentBack(),
      },
      cursor.upTo,
    )
  }

  #lane(lane: Lane): Feed<Arrived> {
    const { core, namespace, agentId } = this.#options
    return new Feed<Arrived>(
      {
        read: (after, limit) => core.inboxes.read(namespace, agentId, lane, after, limit),
        take: (entry, read) => this.#takeEntry(lane, entry, read),
        room: () => this.#room(lane),
        wentBack: () => this.#options.onWentBack(),
      },
      0,
    )
  }

  /** The store has lost data: numbers here name entries that are gone, or others by now. Nothing is pushed or settled any more. */
  forget(): void {
    this.#options.settler.drop(this.settled)
    // What its client says of these before it is closed must reach no entries that have their numbers now.
    this.#held.clear()
    this.stop()
  }

  /** Entries of the log. Where it was cut beyond what this session has read, what was lost goes to the dead letters. */
  async #readLog(
    after: number,
    limit: number,
  ): Promise<{ entries: readonly WiredBroadcast[]; head: number }> {
    const { core, namespace, agentId, log, settler } = this.#options
    const found = await log.read(after, limit)
    const first = found.entries[0]?.number ?? found.head + 1
    if (first > after + 1) {
      await settler.flushCursors(this.settled)
      await core.broadcasts.open(namespace, agentId)
    }
    return found
  }

  #room(lane: Lane): number {
    return !this.#started || this.#options.outbox.behind ? 0 : this.#options.window - this.#count[lane]
  }

  /** The client is welcomed: from now on messages are pushed, first those that wait. */
  start(): void {
    this.#started = true
    this.ask()
  }

  /** Asks the store whether there is more than is known: at the start of a session, and where signals may be lost. */
  ask(): void {
    this.askLane('inbox')
    this.askLane('replies')
    this.askLog()
  }

  /** More waits than was pushed, or may wait: it is read on in any case. */
  get waiting(): boolean {
    return this.#lanes.inbox.waiting || this.#lanes.replies.waiting || this.#log.waiting
  }

  /** Places of the window that are taken, be it by messages that are being claimed. */
  get inFlight(): number {
    return this.#count.inbox + this.#count.replies
  }

  /** Entries of the lanes that wait for room. */
  get backlog(): number {
    return this.#lanes.inbox.left + this.#lanes.replies.left
  }

  /** How far the lanes were read. */
  get reading(): Reading {
    const { inbox, replies } = this.#lanes
    return { agentId: this.#options.agentId, inbox: inbox.pushed, replies: replies.pushed }
  }

  /** Asks the store for a lane that has more than was known. */
  askLane(lane: Lane): void {
    void this.#lanes[lane].pull(true)
  }

  /** Asks the store whether the log has more than is known. */
  askLog(): void {
    void this.#log.pull(true)
  }

  /** A stored entry of a lane; `text` null: only its number is known. `id` where the caller has it. */
  offer(lane: Lane, number: number, text: string | null, expiresAt: number | null, id?: string): void {
    const entry = text === null ? null : { number, text, expiresAt, rejections: 0, dueAt: null, id }
    this.#lanes[lane].offer(number, entry)
  }

  offerBroadcast(number: number, entry: WiredBroadcast | null): void {
    this.#log.offer(number, entry)
  }

  #takeEntry(lane: Lane, entry: Arrived, read: boolean): void {
    if (lane === 'inbox' && this.#moved.delete(entry.number)) return
    const now = Date.now()
    const place = placeOf(lane === 'replies' ? REPLIES : INBOX, entry.number)
    if (entry.expiresAt !== null && entry.expiresAt <= now) {
      this.#expirer.expire(place)
      return
    }
    const id = entry.id ?? idOf(entry.text)
    const twin = this.#placeOfId(id)
    if (twin !== undefined && sourceOf(twin) === LOG) {
      this.#move(id, twin, place)
      return
    }
    this.#count[lane]++
    if (entry.dueAt !== null && entry.dueAt > now) {
      this.#redelivery.wait(id, place, entry.dueAt - now)
      return
    }
    this.#push(id, place, entry, read ? 'read' : 'signal')
  }

  #push(
    id: string,
    place: Place,
    { text, rejections }: Pick<Entry, 'text' | 'rejections'>,
    path: PushPath,
  ): void {
    this.#held.set(id, place)
    const attempt = attemptOf(this.#marks[sourceNameOf(place)], numberOf(place), rejections)
    this.#options.outbox.pushMessage(withAttempt(text, attempt))
    this.#options.flight.pushed(kindOf(place), path, id, text, attempt)
  }

  #placeOfId(id: string): Place | undefined {
    return this.#held.get(id) ?? this.#redelivery.placeOf(id)
  }

  /** A broadcast of this session's window was moved to the inbox by a rejection of the session before, or by one whose answer was lost. */
  #move(id: string, from: Place, to: Place): void {
    this.settled.add(from)
    if (this.#held.has(id)) this.#held.set(id, to)
    else this.#redelivery.wait(id, to, 0)
  }

  #takeBroadcast(entry: WiredBroadcast, read: boolean): void {
    const { agentId, outbox, flight } = this.#options
    if (this.settled.hasLog(entry.number) || !entry.isFor(agentId)) return
    this.settled.open(entry.number)
    if (this.#placeOfId(entry.id) !== undefined) {
      // It was moved to the inbox, and taken from there already.
      this.settled.add(placeOf(LOG, entry.number))
      return
    }
    if (entry.expiresAt !== null && entry.expiresAt <= Date.now()) {
      this.#expirer.expire(placeOf(LOG, entry.number))
      return
    }
    this.#count.inbox++
    this.#held.set(entry.id, placeOf(LOG, entry.number))
    const attempt = attemptOf(this.#marks.log, entry.number, 0)
    if (attempt === 1) outbox.pushShared(entry)
    else outbox.pushMessage(withAttempt(entry.text, attempt))
    flight.pushed('broadcast', read ? 'read' : 'signal', entry.id, entry.text, attempt)
  }

  /** Gives a place in the window free. */
  #free(place: Place): void {
    this.#count[sourceOf(place) === REPLIES ? 'replies' : 'inbox']--
    this.#schedulePull()
    this.#options.onRoom()
  }

  /** Once a turn, so that a burst of acknowledgements makes one read. */
  #schedulePull(): void {
    if (this.#pullScheduled || !this.waiting) return
    this.#pullScheduled = true
    setImmediate(() => {
      this.#pullScheduled = false
      this.resume()
    })
  }

  /** There may be room again. Inbox and log share it: each is read first every other time, or one might never have any. */
  resume(): void {
    this.#logFirst = !this.#logFirst
    const [first, second] = this.#logFirst ? [this.#log, this.#lanes.inbox] : [this.#lanes.inbox, this.#log]
    const reading = first.pull()
    if (reading) void reading.then(() => second.pull())
    else void second.pull()
    void this.#lanes.replies.pull()
  }

  /** Answers whether the client holds `id` as a message of a lane or the log. */
  ack(id: string): boolean {
    const place = this.#held.get(id)
    if (place === undefined) return false
    this.#held.delete(id)
    if (this.#begun.size > 0) this.#begun.delete(id)
    this.#options.flight.acknowledged(kindOf(place), id)
    this.settled.add(place)
    this.#free(place)
    return true
  }

  /** The client works on these: who asked for a receipt is told, once. Lanes alone have receipts; of others nothing is to be told. */
  async progress(ids: readonly string[]): Promise<void> {
    const numbers: number[] = []
    for (const id of ids) {
      const place = this.#held.get(id)
      if (place === undefined || sourceOf(place) !== INBOX || this.#begun.has(id)) continue
      this.#begun.add(id)
      numbers.push(numberOf(place))
    }
    if (numbers.length === 0) return
    const { core, namespace, agentId } = this.#options
    try {
      await core.inboxes.progress(namespace, { agentId, lane: 'inbox', numbers })
    } catch (error) {
      // The client says so again while it works on them.
      for (const id of ids) this.#begun.delete(id)
      throw error
    }
  }

  /** How many messages of a work queue may be pushed now. */
  get room(): number {
    return this.#stopped ? 0 : this.#room('inbox')
  }

  /** Work takes places of the inbox's window, or (below 0) gives them back. */
  takePlaces(count: number): void {
    this.#count.inbox += count
    if (count < 0) this.#schedulePull()
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  /** What the client holds no more is ignored. @throws MeshError `store_unavailable` */
  async nack(nack: Nack): Promise<void> {
    const place = this.#held.get(nack.id)
    if (place === undefined) return
    this.#begun.delete(nack.id)
    // From now on the client does not hold it: an `ack` that follows is ignored.
    this.#held.delete(nack.id)
    await this.#redelivery.reject(nack, place)
  }

  /** The marks after this session, for the next one. */
  marks(): PushMarks {
    const places = [...this.#held.values(), ...this.#redelivery.places()]
    const mark = (source: Source, feed: Feed<Arrived> | Feed<WiredBroadcast>): string => {
      let first = feed.pushed + 1
      for (const place of places)
        if (sourceNameOf(place) === source && numberOf(place) < first) first = numberOf(place)
      return addMark(this.#marks[source], feed.pushed, first)
    }
    return {
      inbox: mark('inbox', this.#lanes.inbox),
      replies: mark('replies', this.#lanes.replies),
      broadcasts: mark('log', this.#log),
    }
  }

  /** Nothing is pushed any more. */
  stop(): void {
    this.#stopped = true
    this.#options.flight.end()
    this.#lanes.inbox.stop()
    this.#lanes.replies.stop()
    this.#log.stop()
    this.#redelivery.stop()
    this.#expirer.stop()
  }
}
