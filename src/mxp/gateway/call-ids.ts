/** The ids by which an MXP agent knows a message. */
export interface MxpIds {
  readonly messageId: bigint
  readonly traceId: bigint
}

const PATTERN = /^mxp-([0-9a-f]{16})-([0-9a-f]{16})$/

const toHex = (id: bigint): string => id.toString(16).padStart(16, '0')

/**
 * The correlation id of a Call's query. It says the Call's ids itself, so that whichever hub the caller is connected to when the response comes knows them.
 */
export const toCorrelationId = ({ messageId, traceId }: MxpIds): string =>
  `mxp-${toHex(messageId)}-${toHex(traceId)}`

/** The ids of the Call that a correlation id was made for; null where it was not made for one. */
export function parseCorrelationId(correlationId: string | undefined): MxpIds | null {
  const [, messageId, traceId] = PATTERN.exec(correlationId ?? '') ?? []
  return messageId === undefined
    ? null
    : { messageId: BigInt(`0x${messageId}`), traceId: BigInt(`0x${traceId}`) }
}
