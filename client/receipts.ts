import type { Receipt } from '../protocol/pushes.ts'
import type { SendResult } from '../protocol/replies.ts'
import { handled } from './errors.ts'
import { createFeed } from './feed.ts'
import type { Feed } from './feed.ts'
import { createPending } from './pending.ts'
import type { Pending } from './pending.ts'
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
  readonly settled: Pending<SettledReceipt>
}

function isFinal(receipt: Receipt): receipt is SettledReceipt {
  return receipt.status !== 'in_progress'
}

/**
 * Gives receipts to the sends that wait for them, by the message's id, which a send's answer tells. A receipt that comes
 * before that answer waits, unacknowledged, until every send that was open then is answered; what belongs to none of them
 * (an earlier client of this agent had sent it) is acknowledged and told as a status event.
 */
export interface Receipts {
  /** Follows what becomes of a send with a receipt. */
  track(send: Promise<SendResult>): Promise<TrackedSend>
  /** A receipt frame came. */
  receive(receipt: Receipt): void
  /** Nothing comes any more. */
  fail(error: Error): void
}

export function createReceipts({ settlements, emit }: ReceiptsPort): Receipts {
  const followed = new Map<string, Tracked>()
  /** Sends with a receipt that are not answered, by number, in order. */
  const open = new Set<number>()
  let opened = 0
  /** By `receiptId`, in the order they came; `last`: the number of the latest send then. */
  const early = new Map<string, { readonly receipt: Receipt; readonly last: number }>()
  let ended: Error | undefined

  function follow(result: SendResult): TrackedSend {
    const feed = createFeed<Receipt>(2)
    const settled = createPending<SettledReceipt>()
    followed.set(result.id, { feed, settled })
    for (const { receipt } of early.values()) if (receipt.id === result.id) tell(receipt)
    if (ended) fail(ended)
    return { ...result, settled: settled.promise, receipts: feed }
  }

  /** Gives a receipt to the send that waits for it, or else to the application. */
  function tell(receipt: Receipt): void {
    const { receiptId, id } = receipt
    early.delete(receiptId)
    settlements.ack(receiptId)
    const send = followed.get(id)
    if (!send) return emit({ type: 'receipt', receipt })
    send.feed.push(receipt)
    if (!isFinal(receipt)) return
    followed.delete(id)
    send.feed.end()
    send.settled.resolve(receipt)
  }

  /** Tells the early receipts that no open send can belong to. */
  function sort(): void {
    const [oldest = Infinity] = open
    for (const { receipt, last } of early.values()) {
      if (last >= oldest) return
      tell(receipt)
    }
  }

  function fail(error: Error): void {
    ended = error
    early.clear()
    for (const { feed, settled } of followed.values()) {
      feed.end(error)
      settled.fail(error)
    }
    followed.clear()
  }

  return {
    track(send) {
      const number = ++opened
      open.add(number)
      const answered = (): void => {
        open.delete(number)
        sort()
      }
      const tracked = send.then(follow)
      tracked.then(answered, answered)
      return handled(tracked)
    },
    receive(receipt) {
      const { receiptId, id } = receipt
      if (early.has(receiptId) || settlements.repeat(receiptId)) return
      if (followed.has(id)) return tell(receipt)
      early.set(receiptId, { receipt, last: opened })
      sort()
    },
    fail,
  }
}
