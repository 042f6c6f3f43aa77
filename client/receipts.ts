import type { Receipt } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import { handled } from './errors.ts'
import { Feed } from './feed.ts'
import type { Settlements } from './settlements.ts'
import type { Incident } from './status.ts'

/** What became of a message in the end. */
export interface SettledReceipt extends Receipt {
  readonly status: 'acked' | 'expired' | 'dead_lettered'
}

/** A message that was stored, and what becomes of it. */
export interface TrackedSend extends SendResult {
  /**
   * The final receipt, whatever it says; reconnections do not disturb it. Rejects only when the client ends first, which is
   * no unhandled rejection where nobody looks.
   */
  readonly settled: Promise<SettledReceipt>
  /**
   * The receipts as they come: `in_progress`, if somebody works on it for long enough to say so, then the final one, then
   * done. For one reader; throws when the client ends first.
   */
  readonly receipts: AsyncIterableIterator<Receipt, undefined>
}

export interface ReceiptsPort {
  readonly settlements: Pick<Settlements, 'repeat' | 'ack'>
  emit(incident: Incident): void
}

interface Tracked {
  readonly feed: Feed<Receipt>
  readonly resolve: (receipt: SettledReceipt) => void
  readonly reject: (error: Error) => void
}

function isFinal(receipt: Receipt): receipt is SettledReceipt {
  return receipt.status !== 'in_progress'
}

/**
 * Gives receipts to the sends that wait for them, by the message's id, which a send's answer tells. A receipt that comes
 * before that answer waits, unacknowledged, until every send that was open then is answered; what belongs to none of them
 * (an earlier client of this agent had sent it) is acknowledged and told as a status event.
 */
export class Receipts {
  readonly #port: ReceiptsPort
  readonly #tracked = new Map<string, Tracked>()
  /** Sends with a receipt that are not answered, by number, in order. */
  readonly #open = new Set<number>()
  #opened = 0
  /** By `receiptId`, in the order they came; `last`: the number of the latest send then. */
  readonly #early = new Map<string, { readonly receipt: Receipt; readonly last: number }>()
  #ended: Error | null = null

  constructor(port: ReceiptsPort) {
    this.#port = port
  }

  /** Follows what becomes of a send with a receipt. */
  track(send: Promise<SendResult>): Promise<TrackedSend> {
    const number = ++this.#opened
    this.#open.add(number)
    const answered = (): void => {
      this.#open.delete(number)
      this.#sort()
    }
    const tracked = send.then((result) => this.#track(result))
    tracked.then(answered, answered)
    return handled(tracked)
  }

  /** A receipt frame came. */
  receive(receipt: Receipt): void {
    const { receiptId, id } = receipt
    if (this.#early.has(receiptId) || this.#port.settlements.repeat(receiptId)) return
    const tracked = this.#tracked.get(id)
    if (tracked !== undefined) this.#tell(tracked, receipt)
    else {
      this.#early.set(receiptId, { receipt, last: this.#opened })
      this.#sort()
    }
  }

  /** Nothing comes any more. */
  fail(error: Error): void {
    this.#ended = error
    this.#early.clear()
    for (const tracked of this.#tracked.values()) this.#fail(tracked, error)
    this.#tracked.clear()
  }

  #track(result: SendResult): TrackedSend {
    const feed = new Feed<Receipt>(
      2,
      (receipts) => [...receipts],
      () => undefined,
    )
    const settled = new Promise<SettledReceipt>((resolve, reject) => {
      const tracked = { feed, resolve, reject }
      if (this.#ended !== null) return this.#fail(tracked, this.#ended)
      this.#tracked.set(result.id, tracked)
      for (const [receiptId, { receipt }] of this.#early) {
        if (receipt.id !== result.id) continue
        this.#early.delete(receiptId)
        this.#tell(tracked, receipt)
      }
    })
    return { ...result, settled: handled(settled), receipts: feed }
  }

  #tell({ feed, resolve }: Tracked, receipt: Receipt): void {
    this.#port.settlements.ack(receipt.receiptId)
    feed.push(receipt)
    if (!isFinal(receipt)) return
    this.#tracked.delete(receipt.id)
    feed.end(null)
    resolve(receipt)
  }

  #fail({ feed, reject }: Tracked, error: Error): void {
    feed.end(error)
    reject(error)
  }

  /** Tells the early receipts that no open send can belong to. */
  #sort(): void {
    const [oldest = Infinity] = this.#open
    for (const [receiptId, { receipt, last }] of this.#early) {
      if (last >= oldest) return
      this.#early.delete(receiptId)
      this.#port.settlements.ack(receiptId)
      this.#port.emit({ type: 'receipt', receipt })
    }
  }
}
