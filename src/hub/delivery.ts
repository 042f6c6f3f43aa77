import type { Nack } from '../../protocol/commands.ts'
import { addMark, attemptOf, type Mark, parseMarks, withAttempt } from '../core/attempts.ts'
import type { BroadcastEntry, Cursor } from '../core/broadcasts.ts'
import type { Core } from '../core/core.ts'
import type { Entry, Lane, RejectResult } from '../core/inboxes.ts'
import type { PushMarks } from '../core/registry.ts'
import { Feed } from './feed.ts'
import { LogCursor } from './log-cursor.ts'
import type { Outbox } from './outbox.ts'
import type { Settler } from './settler.ts'

/** The broadcast log, as a third source beside the lanes. */
type Source = Lane | 'log'

/** A message that the client holds, or a rejected one that waits for its delay and keeps its place. */
interface InFlight {
  source: Source
  number: number
  rejected: boolean
  timer: NodeJS.Timeout | null
}

/** An entry of the log with its frame, built once for all agents of this hub. */
export interface WiredBroadcast extends BroadcastEntry {
  readonly wire: Buffer
}

export interface DeliveryOptions {
  readonly namespace: string
  readonly agentId: string
  readonly core: Core
  readonly outbox: Outbox
  readonly settler: Settler
  /** Of each lane; broadcasts share that of the inbox. */
  readonly window: number
  /** Of earlier sessions. */
  readonly marks: PushMarks
  readonly wire: (entry: BroadcastEntry) => WiredBroadcast
  readonly onError: (error: unknown) => void
}

const ID_START = '{"type":"message","id":"'.length

/** The id of a stored message frame: every one begins with it. */
export const idOf = (text: string): string => text.slice(ID_START, text.indexOf('"', ID_START))

/**
 * One session's window. What was pushed and not acknowledged is here by id; what waits beyond the window is in the store
 * and only its number is known.
 */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #inFlight = new Map<string, InFlight>()
  readonly #lanes: Record<Lane, Feed<Entry>>
  readonly #log: Feed<BroadcastEntry>
  readonly #cursor: LogCursor
  readonly #marks: Record<Source, Mark[]>
  readonly #count: Record<Lane, number> = { inbox: 0, replies: 0 }
  /** Inbox numbers that a rejected broadcast was moved to: they have their place already. */
  readonly #moved = new Set<number>()
  #started = false
  #pullScheduled = false
  #stopped = false

  constructor(options: DeliveryOptions, cursor: Cursor) {
    this.#options = options
    const { marks } = options
    this.#marks = { inbox: parseMarks(marks.inbox), replies: parseMarks(marks.replies), log: parseMarks(marks.broadcasts) }
    this.#lanes = { inbox: this.#lane('inbox'), replies: this.#lane('replies') }
    this.#cursor = new LogCursor(cursor)
    const { core, namespace } = options
    this.#log = new Feed<BroadcastEntry>(
      {
        read: (after, limit) => core.broadcasts.read(namespace, after, limit),
        take: (entry) => this.#takeBroadcast(entry),
        room: () => this.#room('inbox'),
      },
      cursor.upTo,
    )
  }

  #lane(lane: Lane): Feed<Entry> {
    const { core, namespace, agentId } = this.#options
    return new Feed<Entry>(
      {
        read: (after, limit) => core.inboxes.read(namespace, agentId, lane, after, limit),
        take: (entry) => this.#takeEntry(lane, entry),
        room: () => this.#room(lane),
      },
      0,
    )
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
    this.#lanes.inbox.pull(true)
    this.#lanes.replies.pull(true)
    this.#log.pull(true)
  }

  /** A stored entry of a lane; `text` null: only its number is known. */
  offer(lane: Lane, number: number, text: string | null, expiresAt: number | null): void {
    this.#lanes[lane].offer(number, text === null ? null : { number, text, expiresAt, rejections: 0, dueAt: null })
  }

  offerBroadcast(number: number, entry: WiredBroadcast | null): void {
    this.#log.offer(number, entry)
  }

  #takeEntry(lane: Lane, entry: Entry): void {
    if (lane === 'inbox' && this.#moved.delete(entry.number)) return
    const { namespace, agentId, core, onError } = this.#options
    const now = Date.now()
    if (entry.expiresAt !== null && entry.expiresAt <= now) {
      core.inboxes.expire(namespace, { agentId, lane, numbers: [entry.number] }).catch(onError)
      return
    }
    const id = idOf(entry.text)
    const place: InFlight = { source: lane, number: entry.number, rejected: false, timer: null }
    this.#hold(id, place)
    if (entry.dueAt !== null && entry.dueAt > now) {
      this.#pushLater(id, place, entry.dueAt - now)
      return
    }
    this.#options.outbox.push(withAttempt(entry.text, attemptOf(this.#marks[lane], entry.number, entry.rejections)))
  }

  #takeBroadcast(entry: BroadcastEntry): void {
    const { namespace, agentId, core, outbox, onError, wire } = this.#options
    const owed =
      !this.#cursor.isSettled(entry.number) &&
      (entry.recipients === null ? entry.echo || entry.from !== agentId : entry.recipients.includes(agentId))
    if (!owed) return
    this.#cursor.push(entry.number)
    if (entry.expiresAt !== null && entry.expiresAt <= Date.now()) {
      this.#cursor.settle(entry.number)
      core.broadcasts.reject(namespace, { agentId, number: entry.number, requeue: false, delayMs: 0, reason: 'expired' }).catch(onError)
      return
    }
    this.#hold(idOf(entry.text), { source: 'log', number: entry.number, rejected: false, timer: null })
    const attempt = attemptOf(this.#marks.log, entry.number, 0)
    if (attempt === 1) outbox.pushWire(wire(entry).wire)
    else outbox.push(withAttempt(entry.text, attempt))
  }

  #hold(id: string, place: InFlight): void {
    this.#inFlight.set(id, place)
    this.#count[place.source === 'replies' ? 'replies' : 'inbox']++
  }

  /** Gives a place free. */
  #free(id: string, place: InFlight): void {
    this.#inFlight.delete(id)
    this.#count[place.source === 'replies' ? 'replies' : 'inbox']--
    if (place.timer) clearTimeout(place.timer)
    this.#schedulePull()
  }

  /** Once a turn, so that a burst of acknowledgements makes one read. */
  #schedulePull(): void {
    if (this.#pullScheduled || !(this.#lanes.inbox.waiting || this.#lanes.replies.waiting || this.#log.waiting)) return
    this.#pullScheduled = true
    setImmediate(() => {
      this.#pullScheduled = false
      this.resume()
    })
  }

  /** There may be room again. */
  resume(): void {
    this.#lanes.inbox.pull()
    this.#lanes.replies.pull()
    this.#log.pull()
  }

  ack(ids: readonly string[]): void {
    const { settler, agentId } = this.#options
    for (const id of ids) {
      const place = this.#inFlight.get(id)
      if (!place || place.rejected) continue
      if (place.source === 'log') {
        this.#cursor.settle(place.number)
        settler.touch(this)
      } else {
        settler.settle(agentId, place.source, place.number)
      }
      this.#free(id, place)
    }
  }

  async nack({ id, requeue, delayMs, reason }: Nack): Promise<void> {
    const place = this.#inFlight.get(id)
    if (!place || place.rejected) return
    const { namespace, agentId, core } = this.#options
    const rejection = { agentId, number: place.number, requeue: requeue ?? true, delayMs: delayMs ?? 0, reason: reason || null }
    // From now on the client does not hold it: an `ack` that follows is ignored.
    place.rejected = true
    let result: RejectResult
    try {
      result =
        place.source === 'log'
          ? await core.broadcasts.reject(namespace, rejection)
          : await core.inboxes.reject(namespace, place.source, rejection)
    } catch (error) {
      // Not counted, so that the next try is no worse than the first.
      if (!this.#stopped) this.#pushLater(id, place, Math.max(rejection.delayMs, 1_000))
      throw error
    }
    if (this.#stopped) return
    if (place.source === 'log') {
      this.#cursor.settle(place.number)
      this.#options.settler.touch(this)
    }
    if (result.outcome !== 'requeued') {
      this.#free(id, place)
      return
    }
    if (place.source === 'log') {
      this.#moved.add(result.number)
      place.source = 'inbox'
      place.number = result.number
      this.#lanes.inbox.offer(result.number, null)
    }
    this.#pushLater(id, place, rejection.delayMs)
  }

  #pushLater(id: string, place: InFlight, delayMs: number): void {
    place.rejected = true
    // Timers end at 2^31 ms; a longer delay is looked at again then.
    place.timer = setTimeout(() => this.#pushAgain(id, place).catch(this.#options.onError), Math.min(delayMs, 2 ** 31 - 1))
  }

  async #pushAgain(id: string, place: InFlight): Promise<void> {
    const { namespace, agentId, core, outbox } = this.#options
    const { source } = place
    let entry: { readonly text: string; readonly rejections: number; readonly expiresAt: number | null; readonly dueAt: number | null } | undefined
    try {
      if (source === 'log') {
        const found = (await core.broadcasts.read(namespace, place.number - 1, 1)).entries[0]
        if (found?.number === place.number) entry = { ...found, rejections: 0, dueAt: null }
      } else {
        const found = (await core.inboxes.read(namespace, agentId, source, place.number - 1, 1)).entries[0]
        if (found?.number === place.number) entry = found
      }
    } catch {
      // The store is down: the message waits with it. Failures of the store are told where commands fail.
      if (!this.#stopped) this.#pushLater(id, place, 1_000)
      return
    }
    if (this.#stopped) return
    const now = Date.now()
    if (!entry) {
      this.#free(id, place)
    } else if (entry.expiresAt !== null && entry.expiresAt <= now) {
      this.#free(id, place)
      if (source !== 'log') await core.inboxes.expire(namespace, { agentId, lane: source, numbers: [place.number] })
    } else if (entry.dueAt !== null && entry.dueAt > now + 5) {
      this.#pushLater(id, place, entry.dueAt - now)
    } else {
      place.rejected = false
      place.timer = null
      outbox.push(withAttempt(entry.text, attemptOf(this.#marks[source], place.number, entry.rejections)))
    }
  }

  /** What of the log is settled by now. */
  get cursor(): Cursor {
    return this.#cursor.value(this.#log.pushed)
  }

  get agentId(): string {
    return this.#options.agentId
  }

  /** The marks after this session, for the next one. */
  marks(): PushMarks {
    const mark = (source: Source, feed: Feed<Entry> | Feed<BroadcastEntry>): string => {
      let first = feed.pushed + 1
      for (const place of this.#inFlight.values()) if (place.source === source && place.number < first) first = place.number
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
    this.#lanes.inbox.stop()
    this.#lanes.replies.stop()
    this.#log.stop()
    for (const place of this.#inFlight.values()) if (place.timer) clearTimeout(place.timer)
  }
}
