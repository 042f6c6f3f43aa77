/** Why a message was given up, where no reason of a `nack` says it. */
type DeadReason = 'max_attempts' | 'expired' | 'unregistered' | 'retention' | 'broadcast_log_cut'

export interface DeadLetter {
  /** Place in the list; grows. */
  readonly position: string
  /** Null where a record stands for several broadcasts: what was cut from the log, or not settled when the agent was unregistered. */
  readonly messageId: string | null
  /** Whom it was for. */
  readonly agentId: string
  /** A {@link DeadReason}, or what the last `nack` said. */
  readonly reason: DeadReason | (string & {})
  /** How often it was rejected. */
  readonly rejections: number
  /** Milliseconds since 1970. */
  readonly at: number
  /** The frame as it was stored; of a record for several broadcasts the JSON of `{ "from": number, "to": number }`, the log's numbers from the first unsettled one on. */
  readonly text: string
}

/** What was given up, kept with its reason; the oldest goes beyond `deadMax`. Each new one is told by a `dead` signal on the feed. */
export interface DeadLetters {
  /** In the order they came, after `position` (null: from the start), at most `limit`. */
  list(namespace: string, position: string | null, limit: number): Promise<readonly DeadLetter[]>
}
