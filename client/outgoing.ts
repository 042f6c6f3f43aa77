import { MeshError } from '../protocol/errors.ts'
import * as LIMITS from '../protocol/limit-values.ts'
import type { Target } from '../protocol/message.ts'
import type { ErrorReply, Ok, SendResult } from '../protocol/replies.ts'
import { retryDelay } from './backoff.ts'
import type { SealOptions } from './envelope.ts'
import { abortError, overflowError } from './errors.ts'
import { randomId } from './ids.ts'
import type { Incident } from './status.ts'

/** A send without its answer. */
export interface Entry {
  /** The frame after `"seq":n`, ending in `}`. */
  readonly tail: string
  readonly bytes: number
  /** 0 until it is first written. */
  seq: number
  /** Of the latest transmission; an answer to an older one says nothing any more. */
  ref: number
  transmissions: number
  /** Nobody waits for the answer any more. */
  abandoned: boolean
  readonly resolve: (result: SendResult) => void
  readonly reject: (error: Error) => void
}

export interface OutgoingPort {
  /** Writes a frame to the open connection. */
  write(line: string): void
  /** The hub counts differently from us: connect again, under the new producer. */
  renew(): void
  emit(incident: Incident): void
}

export interface OutgoingLimits {
  readonly maxSends: number
  readonly maxBytes: number
}

/** Where the sends of a client are kept until they are answered, over a reload or restart; `outboxOn` makes one. */
export interface Outbox {
  /** Takes it for one client. @throws MeshError where another one has it, or it can't be used */
  open(namespace: string | null, agentId: string | null | undefined): Promise<void>
  outgoing(port: OutgoingPort, limits: OutgoingLimits): Sends
  /** Lets go of it. Never rejects. */
  close(): Promise<void>
}

/** The sends of a client, in order, until they are answered. */
export interface Sends {
  /** Takes a send: `tail` is the frame's text after `"seq":n`, starting with a comma. */
  add(tail: string, bytes: number, to: Target, options?: SealOptions): Promise<SendResult>
  /** The producer to name in the next `hello`. */
  greet(): string
  /** Whether this session can go on under the producer that its `hello` named; if not, say `hello` again on a new connection. */
  accepts(resumed: boolean): boolean
  /** A session is open: what has no answer goes out again, in order, then what waited. */
  resume(): void
  /** The connection is gone. */
  lost(): void
  /** The hub's answer to the transmission `reply.ref`; others are ignored. */
  answered(reply: Ok | ErrorReply): void
  /** Rejects all that has no answer. */
  fail(error: Error): void
  /** Resolves when every send is answered. */
  idle(): Promise<void>
}

/**
 * What was sent and not yet answered, in order. A send gets its `seq` when it is first written, so what was never written
 * can be taken back without leaving a gap; what was written stays until it is answered, even when nobody waits any more.
 *
 * A producer is kept while anything of it is open, so that resending is safe, and replaced when nothing is (a hub that forgot
 * the agent has forgotten its numbers too). When something is open and the hub has forgotten it (`resumed` false), the open
 * sends are numbered anew under a new producer, which takes a further `hello`; if the hub had stored one of them before it
 * forgot us, its receiver gets it twice, under two ids.
 *
 * What is protected is what an outbox builds on (kept-outgoing.ts).
 */
export class Outgoing implements Sends {
  readonly #port: OutgoingPort
  readonly #limits: OutgoingLimits
  /** Named by the current or the next `hello`. */
  protected producer = randomId()
  protected nextSeq = 1
  #nextRef = 1
  /** Written and not answered, by `seq`, in order. */
  protected readonly open = new Map<number, Entry>()
  /** Latest transmission → entry. */
  readonly #refs = new Map<number, Entry>()
  protected readonly unsent = new Set<Entry>()
  #bytes = 0
  #online = false
  #hold: ReturnType<typeof setTimeout> | null = null
  #holds = 0
  #lastWasBadFrame = false
  #idle: (() => void)[] = []

  constructor(port: OutgoingPort, limits: OutgoingLimits) {
    this.#port = port
    this.#limits = limits
  }

  /** Sends without an answer. */
  get size(): number {
    return this.open.size + this.unsent.size
  }

  add(tail: string, bytes: number, to: Target, options: SealOptions = {}): Promise<SendResult> {
    const { signal } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal))
      if (this.size >= this.#limits.maxSends) {
        return reject(overflowError(this.size, 'sends', 'maxOutgoing'))
      }
      if (this.#bytes + bytes > this.#limits.maxBytes && this.size > 0) {
        return reject(overflowError(this.#bytes, 'bytes', 'maxOutgoingBytes'))
      }
      const aborted = (): void => this.#abandon(entry, abortError(signal as AbortSignal))
      const settled = (): void => signal?.removeEventListener('abort', aborted)
      const entry: Entry = {
        tail,
        bytes,
        seq: 0,
        ref: 0,
        transmissions: 0,
        abandoned: false,
        resolve: (result) => (settled(), resolve(result)),
        reject: (error) => (settled(), reject(error)),
      }
      signal?.addEventListener('abort', aborted)
      this.take(entry, to, options)
    })
  }

  protected take(entry: Entry, _to: Target, _options: SealOptions): void {
    this.#bytes += entry.bytes
    this.unsent.add(entry)
    this.pump()
  }

  greet(): string {
    if (this.open.size === 0 && this.nextSeq > 1) this.renumber()
    return this.producer
  }

  accepts(resumed: boolean): boolean {
    if (resumed || this.nextSeq === 1) return true
    this.renumber()
    return false
  }

  resume(): void {
    this.#online = true
    this.#retransmit()
  }

  lost(): void {
    this.#online = false
    this.#endHold()
    this.#lastWasBadFrame = false
  }

  answered(reply: Ok | ErrorReply): void {
    const entry = this.#refs.get(reply.ref as number)
    if (!entry) return
    if (reply.type === 'ok') {
      this.#holds = 0
      this.#lastWasBadFrame = false
      this.finish(entry)
      entry.resolve(reply.result as SendResult)
    } else {
      this.#refused(entry, MeshError.fromBody(reply.error))
    }
    this.pump()
  }

  fail(error: Error): void {
    this.lost()
    for (const entry of [...this.open.values(), ...this.unsent]) {
      this.finish(entry)
      entry.reject(error)
    }
  }

  idle(): Promise<void> {
    if (this.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  protected pump(): void {
    if (!this.#online || this.#hold) return
    for (const entry of this.unsent) {
      if (!this.admits(entry)) return
      this.unsent.delete(entry)
      this.number(entry)
    }
  }

  /** Whether this entry may have the next number now. */
  protected admits(_entry: Entry): boolean {
    const [oldest = this.nextSeq] = this.open.keys()
    return this.nextSeq - oldest < LIMITS.producerWindow
  }

  protected number(entry: Entry): void {
    entry.seq = this.nextSeq++
    this.open.set(entry.seq, entry)
    this.#transmit(entry)
  }

  #retransmit(): void {
    this.#refs.clear()
    for (const entry of this.open.values()) this.#transmit(entry)
    this.pump()
  }

  #transmit(entry: Entry): void {
    entry.ref = this.#nextRef++
    entry.transmissions++
    this.#refs.set(entry.ref, entry)
    this.#port.write(`{"type":"send","ref":${entry.ref},"seq":${entry.seq}${entry.tail}`)
  }

  #refused(entry: Entry, error: MeshError): void {
    // Only these leave a seq open (PROTOCOL.md section 4): it and all behind it go out again, in order.
    if (error.code === 'store_unavailable' || error.code === 'draining') {
      this.#refs.delete(entry.ref)
      this.#hold ??= setTimeout(
        () => {
          this.#hold = null
          this.#retransmit()
        },
        error.retryAfterMs ?? retryDelay(++this.#holds, Math.random()),
      )
      return
    }
    // A frame that was taken before, or two in a row, can't be at fault themselves: it is the numbering.
    const misnumbered = error.code === 'bad_frame' && (entry.transmissions > 1 || this.#lastWasBadFrame)
    this.#lastWasBadFrame = error.code === 'bad_frame'
    if (misnumbered || error.code === 'seq_too_old') {
      this.renumber()
      this.lost()
      this.#port.renew()
      return
    }
    this.finish(entry)
    entry.reject(error)
  }

  #abandon(entry: Entry, error: Error): void {
    if (entry.seq === 0) this.finish(entry)
    else entry.abandoned = true
    entry.reject(error)
  }

  /** It is answered or given up. */
  protected finish(entry: Entry): void {
    const known = entry.seq === 0 ? this.unsent.delete(entry) : this.open.delete(entry.seq)
    this.#refs.delete(entry.ref)
    if (known) this.#bytes -= entry.bytes
    this.#checkIdle()
  }

  #checkIdle(): void {
    if (this.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** A new producer, whose first sends are the open ones; those that nobody waits for are dropped. */
  protected renumber(): void {
    for (const entry of [...this.open.values()]) if (entry.abandoned) this.finish(entry)
    const entries = [...this.open.values(), ...this.unsent]
    this.open.clear()
    this.#refs.clear()
    this.unsent.clear()
    this.producer = randomId()
    this.nextSeq = 1
    for (const entry of entries) {
      entry.seq = 0
      entry.transmissions = 0
      this.unsent.add(entry)
    }
  }

  #endHold(): void {
    if (this.#hold) clearTimeout(this.#hold)
    this.#hold = null
  }
}
