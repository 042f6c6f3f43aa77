import type { Receipt } from '../../../protocol/pushes.ts'
import type { RegistryCode } from '../registry-error.ts'
import { type MxpIds, parseCorrelationId, toCorrelationId } from './call-ids.ts'
import { toWire } from './out.ts'

/** Calls that are remembered: those without an answer, and those that are over. */
const CALLS_MAX = 4_096
/** Milliseconds that a timer of Node can wait; a Call that has more time, some 25 days, is ended by the store alone. */
const TIMER_MAX_MS = 2_147_483_647

type CallEnd = Pick<Receipt, 'status' | 'reason' | 'agentId'> & { readonly error: string }

const failed = (ids: MxpIds, end: CallEnd): Buffer =>
  toWire('Error', ids, { ...end, code: 'CALL_FAILED' satisfies RegistryCode })

/** Calls that one agent has made of one other each: it hears of each by one answer, be it that there will be none. */
export class OwnCalls {
  readonly #send: (wire: Buffer) => void
  /** By correlation id, with what ends it in time. */
  readonly #open = new Map<string, NodeJS.Timeout | null>()
  /** By correlation id: the mesh may tell of their end later. */
  readonly #over = new Set<string>()

  constructor(send: (wire: Buffer) => void) {
    this.#send = send
  }

  /** One on its way to the store, whose answer may come later than that of whoever is called. */
  add(ids: MxpIds): void {
    const correlationId = toCorrelationId(ids)
    this.#forget(correlationId)
    this.#over.delete(correlationId)
    this.#open.set(correlationId, null)
    const [oldest] = this.#open.keys()
    if (this.#open.size > CALLS_MAX && oldest !== undefined) this.#forget(oldest)
  }

  /** It is stored. @param ttlMs after which the agent is told that nobody has answered; null: never */
  stored({ messageId, traceId }: MxpIds, ttlMs: number | null): void {
    const ids = { messageId, traceId }
    const correlationId = toCorrelationId(ids)
    if (ttlMs === null || ttlMs > TIMER_MAX_MS || !this.#open.has(correlationId)) return
    const onLate = (): void => {
      this.over(ids)
      const error = `nobody has answered the Call in its ttlMs of ${ttlMs}`
      this.#send(failed(ids, { error, status: 'expired', reason: null, agentId: null }))
    }
    this.#open.set(correlationId, setTimeout(onLate, ttlMs))
  }

  /** It was answered, or its end told. */
  over(ids: MxpIds): void {
    const correlationId = toCorrelationId(ids)
    this.#forget(correlationId)
    this.#over.add(correlationId)
    const [oldest] = this.#over
    if (this.#over.size > CALLS_MAX && oldest !== undefined) this.#over.delete(oldest)
  }

  /** What a receipt tells of a Call that was given up, on whichever connection it was made; null: it is none of such a one. */
  failed({ status, reason, agentId, correlationId }: Receipt): readonly Buffer[] | null {
    const ids = status === 'expired' || status === 'dead_lettered' ? parseCorrelationId(correlationId) : null
    if (ids === null) return null
    const isKnown = this.#over.has(toCorrelationId(ids))
    this.over(ids)
    const error = `the Call was given up: ${reason ?? 'it expired'}`
    return isKnown ? [] : [failed(ids, { error, status, reason, agentId })]
  }

  #forget(correlationId: string): void {
    const timer = this.#open.get(correlationId)
    this.#open.delete(correlationId)
    if (timer) clearTimeout(timer)
  }

  /** The connection has ended. */
  close(): void {
    for (const correlationId of this.#open.keys()) this.#forget(correlationId)
  }
}
