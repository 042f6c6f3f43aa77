/** How a message with a receipt fares; all but `in_progress` are final, and a message has one final receipt. */
export type ReceiptStatus = 'in_progress' | 'acked' | 'expired' | 'dead_lettered'

/** What its sender is told of a message: each receipt, `failure`: only a final one that is not `acked`, or none. */
export type ReceiptWish = boolean | 'failure'

export interface Receipt {
  /** The message's id. */
  readonly id: string
  /** Who acknowledged it, works on it or had it last; null where nobody did. */
  readonly agentId: string | null
  readonly status: ReceiptStatus
  /** Of `dead_lettered`: why. */
  readonly reason: string | null
  /** Of a message that was given up: its correlation id, if it has one. */
  readonly correlationId?: string | undefined
  /** Milliseconds since 1970. */
  readonly at: number
}

const CREATED_AT = ',"createdAt":"'
const CORRELATION_ID = ',"correlationId":'

/** The correlation id of a stored message: what that has behind its payload ends before its time, and no string can hold an unescaped quote. */
export function correlationIdOf(text: string): string | undefined {
  const head = text.slice(0, Math.max(0, text.lastIndexOf(CREATED_AT)))
  const at = head.endsWith('"') ? head.lastIndexOf(`${CORRELATION_ID}"`) : -1
  return at < 0 ? undefined : (JSON.parse(head.slice(at + CORRELATION_ID.length)) as string)
}

/**
 * The frame of a receipt, stored as an entry of the sender's `replies` lane by the step that settles, gives up or extends
 * the message. Its id follows from the message's, so that a client can tell a repetition.
 */
export function receiptText({ id, agentId, status, reason, correlationId, at }: Receipt): string {
  const kind = status === 'in_progress' ? 'p' : 'f'
  const correlation = correlationId === undefined ? '' : `${CORRELATION_ID}${JSON.stringify(correlationId)}`
  return `{"type":"receipt","receiptId":${JSON.stringify(`${id}.${kind}`)},"id":${JSON.stringify(id)},"agentId":${JSON.stringify(agentId)},"status":"${status}","reason":${JSON.stringify(reason)}${correlation},"at":"${new Date(at).toISOString()}"}`
}
