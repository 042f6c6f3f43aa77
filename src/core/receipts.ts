/** How a message with a receipt fares; all but `in_progress` are final, and a message has one final receipt. */
export type ReceiptStatus = 'in_progress' | 'acked' | 'expired' | 'dead_lettered'

export interface Receipt {
  /** The message's id. */
  readonly id: string
  /** Who acknowledged it, works on it or had it last; null where nobody did. */
  readonly agentId: string | null
  readonly status: ReceiptStatus
  /** Of `dead_lettered`: why. */
  readonly reason: string | null
  /** Milliseconds since 1970. */
  readonly at: number
}

/**
 * The frame of a receipt, stored as an entry of the sender's `replies` lane by the step that settles, gives up or extends
 * the message. Its id follows from the message's, so that a client can tell a repetition.
 */
export function receiptText({ id, agentId, status, reason, at }: Receipt): string {
  const kind = status === 'in_progress' ? 'p' : 'f'
  return `{"type":"receipt","receiptId":${JSON.stringify(`${id}.${kind}`)},"id":${JSON.stringify(id)},"agentId":${JSON.stringify(agentId)},"status":"${status}","reason":${JSON.stringify(reason)},"at":"${new Date(at).toISOString()}"}`
}
