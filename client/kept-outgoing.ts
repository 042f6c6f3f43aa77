import { MeshError } from '../protocol/errors.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { MessageType, Target } from '../protocol/message.ts'
import type { SendResult } from '../protocol/replies.ts'
import type { SealOptions } from './envelope.ts'
import type { OutboxStore } from './outbox-store.ts'
import { Outgoing } from './outgoing.ts'
import type { Entry, OutgoingLimits, OutgoingPort } from './outgoing.ts'

/** Whose sends a store keeps. */
export interface Owner {
  readonly namespace: string
  readonly agentId: string
}

/** What is stored under key 0. A send's `seq` is its key minus `base`. */
export interface Header extends Owner {
  readonly version: 1
  readonly producer: string
  readonly base: number
  /** Every lesser key has been answered. */
  readonly floor: number
  /** No key from here on was ever written to a socket. */
  readonly next: number
}

/** What is stored of a send. */
export interface KeptSend {
  readonly to: Target
  readonly messageType: MessageType
  readonly tail: string
  readonly bytes: number
  readonly ttlMs: number | null
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null
}

export interface Kept {
  readonly header: Header
  /** By key, in order. */
  readonly sends: ReadonlyMap<number, KeptSend>
}

interface Place {
  readonly key: number
  /** Null: it is not kept. */
  readonly send: KeptSend | null
}

/** What is known to be stored. */
interface Stored {
  readonly producer: string
  readonly floor: number
  readonly next: number
  /** The greatest key of a send. */
  readonly last: number
  readonly count: number
}

/** Milliseconds until a removal is written that nothing else takes along. */
const REMOVAL_DELAY_MS = 50
/** Milliseconds after which a store that failed is tried again, where no send asks for it before. */
const RETRY_MS = 1000
/** Keys that what is not kept may use before the store hears of it: as many numbers may have to be filled after a restart. */
const RESERVED = 64
/** Reaches nobody, as no agent can be in a group of so long a name; counts as a `seq` all the same (PROTOCOL.md section 4). */
const FILLER = `,"to":{"group":"${'-'.repeat(65)}"},"messageType":"notification","payload":null,"durability":"transient"}`

/**
 * Sends that are in a store before they are on a socket, and until they are answered.
 *
 * Each send gets a key when it is taken, kept or not, and its `seq` follows from the key. So what the store has to remember of
 * the numbering is its base; what is not kept costs no write; and a new client that finds sends from `floor` to `next` fills
 * what is missing between them (answered, taken back or never kept) with messages to nobody, lest there be a gap. Without
 * a floor and a bound of what was used, it would not know from where to fill, or give a new send a number that the hub
 * has counted: such a send would be answered as a duplicate, and lost.
 */
export class KeptOutgoing extends Outgoing {
  readonly #port: OutgoingPort
  readonly #store: OutboxStore
  readonly #owner: Owner
  readonly #places = new Map<Entry, Place>()
  readonly #puts = new Map<number, { readonly entry: Entry; readonly send: KeptSend }>()
  readonly #removes = new Set<number>()
  #base = 0
  #nextKey = 1
  #stored: Stored = { producer: '', floor: 0, next: 0, last: 0, count: 0 }
  #writing: Stored | null = null
  #written: Promise<void> = Promise.resolve()
  #timer: ReturnType<typeof setTimeout> | null = null
  #failed = false
  /** Until a session is open: an earlier client may have written what is `unsent` here. */
  #inherited = false
  #ended = false

  constructor(
    port: OutgoingPort,
    limits: OutgoingLimits,
    store: OutboxStore,
    owner: Owner,
    kept: Kept | null,
  ) {
    super(port, limits)
    this.#port = port
    this.#store = store
    this.#owner = owner
    if (kept !== null && kept.sends.size > 0) this.#inherit(kept)
  }

  override greet(): string {
    return this.#inherited ? this.producer : super.greet()
  }

  override resume(): void {
    this.#inherited = false
    super.resume()
  }

  /** Rejects all that has no answer; what is kept stays in the store. */
  override fail(error: Error): void {
    this.#ended = true
    super.fail(error)
  }

  /** Writes what is left to be written. */
  async settle(): Promise<void> {
    this.#ended = true
    this.#stopTimer()
    while (this.#writing !== null) await this.#written
    if (this.#puts.size + this.#removes.size > 0) await this.#write()
  }

  protected override take(entry: Entry, to: Target, options: SealOptions): void {
    const kept = options.fleeting !== true && options.durability !== 'transient'
    const { ttlMs = null, type: messageType = 'notification' } = options
    const send: KeptSend | null = kept
      ? {
          to,
          messageType,
          tail: entry.tail,
          bytes: entry.bytes,
          ttlMs,
          expiresAt: ttlMs === null ? null : Date.now() + ttlMs,
        }
      : null
    const key = this.#nextKey++
    this.#places.set(entry, { key, send })
    if (send !== null) {
      this.#puts.set(key, { entry, send })
      this.#flush()
    }
    super.take(entry, to, options)
  }

  protected override admits(entry: Entry): boolean {
    const place = this.#places.get(entry) as Place
    if (!this.#mayGo(place)) {
      this.#flush()
      return false
    }
    while (this.nextSeq < place.key - this.#base) {
      if (!this.#inWindow(entry)) return false
      this.number(filler())
    }
    return this.#inWindow(entry)
  }

  protected override finish(entry: Entry): void {
    super.finish(entry)
    const place = this.#places.get(entry)
    this.#places.delete(entry)
    if (place === undefined || place.send === null || this.#ended) return
    if (this.#puts.delete(place.key)) return
    this.#removes.add(place.key)
    this.#flushWithin(REMOVAL_DELAY_MS)
  }

  protected override renumber(): void {
    super.renumber()
    this.#inherited = false
    const [first] = this.unsent
    this.#base = (first === undefined ? this.#nextKey : (this.#places.get(first) as Place).key) - 1
  }

  #inherit({ header, sends }: Kept): void {
    const last = [...sends.keys()].at(-1) as number
    this.producer = header.producer
    this.#base = header.base
    this.nextSeq = header.floor - header.base
    this.#nextKey = header.next
    this.#inherited = true
    this.#stored = { ...header, last, count: sends.size }
    for (const [key, send] of sends) {
      const entry = this.#revive(send)
      this.#places.set(entry, { key, send })
      super.take(entry, send.to, {})
    }
  }

  /** A send of an earlier client: nobody waits for it, so what becomes of it is told as a status event. */
  #revive({ to, messageType, tail, bytes, ttlMs, expiresAt }: KeptSend): Entry {
    const port = this.#port
    let expired = false
    const failed = (error: Error): void => {
      if (!this.#ended) port.emit({ type: 'send_failed', to, messageType, error })
    }
    return {
      get tail() {
        if (expiresAt === null) return tail
        const leftMs = Math.min(expiresAt - Date.now(), ttlMs as number)
        expired = leftMs <= 0
        return expired ? FILLER : withTtl(tail, ttlMs as number, leftMs)
      },
      bytes,
      seq: 0,
      ref: 0,
      // Once by an earlier client, maybe.
      transmissions: 1,
      abandoned: false,
      resolve(result: SendResult) {
        // A duplicate was stored while it still counted.
        if (!expired || result.duplicate === true) port.emit({ type: 'outbox_sent', to, messageType, result })
        else failed(new DOMException(`its ttlMs of ${ttlMs} was over before it was sent`, 'TimeoutError'))
      },
      reject: failed,
    }
  }

  #mayGo({ key, send }: Place): boolean {
    const { count, last, next, producer } = this.#stored
    if (send !== null && key > last) return false
    // An empty store has nothing that a later client could number wrongly.
    if (count === 0 && (this.#writing?.count ?? 0) === 0) return true
    return producer === this.producer && key < next
  }

  /** By what the store knows to be answered: a later client must not find a send too old to be answered. */
  #inWindow(entry: Entry): boolean {
    const { count, floor } = this.#stored
    if (count > 0 && this.nextSeq + this.#base - floor >= LIMITS.producerWindow) {
      if (this.#floor() > floor) this.#flush()
      return false
    }
    return super.admits(entry)
  }

  #floor(): number {
    const [oldest = this.nextSeq] = this.open.keys()
    return oldest + this.#base
  }

  /** Writes what has changed together with what else changes in this turn, or while the write before is under way. */
  #flush(): void {
    if (this.#writing !== null || this.#ended || (this.#failed && this.#puts.size === 0)) return
    this.#writing = this.#stored
    queueMicrotask(() => {
      this.#written = this.#write()
    })
  }

  #flushWithin(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#failed = false
      this.#flush()
    }, ms)
  }

  async #write(): Promise<void> {
    this.#stopTimer()
    const { producer } = this
    const floor = this.#floor()
    const next = this.#nextKey + RESERVED
    const header: Header = { version: 1, ...this.#owner, producer, base: this.#base, floor, next }
    const puts = [...this.#puts]
    const removes = [...this.#removes]
    this.#puts.clear()
    this.#removes.clear()
    const { count, last } = this.#stored
    this.#writing = {
      producer,
      floor,
      next,
      last: puts.at(-1)?.[0] ?? last,
      count: count + puts.length - removes.length,
    }
    try {
      await this.#store.write([[0, header], ...puts.map(([key, { send }]) => [key, send] as const)], removes)
      this.#stored = this.#writing
      this.#failed = false
    } catch (cause) {
      this.#failed = true
      for (const key of removes) this.#removes.add(key)
      this.#refuse(puts, cause as Error)
    }
    this.#writing = null
    if (this.#ended) return
    if (this.#failed) this.#flushWithin(RETRY_MS)
    else if (this.#puts.size > 0) this.#flush()
    else if (this.#removes.size > 0) this.#flushWithin(REMOVAL_DELAY_MS)
    this.pump()
  }

  #refuse(puts: readonly (readonly [number, { readonly entry: Entry }])[], cause: Error): void {
    const error = new MeshError(
      'store_unavailable',
      `${this.#store.name} cannot keep the send, so it was not sent: ${cause.message}; make room there and send it again`,
      { cause },
    )
    for (const [key, { entry }] of puts) {
      this.finish(entry)
      this.#removes.delete(key)
      entry.reject(error)
    }
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function filler(): Entry {
  const ignored = (): void => undefined
  return {
    tail: FILLER,
    bytes: 0,
    seq: 0,
    ref: 0,
    // A frame like this one can't be bad itself: only its number can.
    transmissions: 1,
    abandoned: true,
    resolve: ignored,
    reject: ignored,
  }
}

/** The field comes after the payload, and a string can't hold it with its quotes bare: the last one is it. */
function withTtl(tail: string, ttlMs: number, leftMs: number): string {
  const field = `"ttlMs":${ttlMs}`
  const at = tail.lastIndexOf(field)
  return `${tail.slice(0, at)}"ttlMs":${leftMs}${tail.slice(at + field.length)}`
}
