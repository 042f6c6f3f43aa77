/** Every message type and its byte on the wire; anything else does not decode. */
export const MXP_TYPES = {
  AgentRegister: 0x01,
  AgentDiscover: 0x02,
  AgentHeartbeat: 0x03,
  Call: 0x10,
  Response: 0x11,
  Event: 0x12,
  StreamOpen: 0x20,
  StreamChunk: 0x21,
  StreamClose: 0x22,
  Ack: 0xf0,
  Error: 0xf1,
} as const

export type MxpType = keyof typeof MXP_TYPES

/** The bits of `flags`. What they ask for is the peers' matter: the codec neither compresses nor encrypts. */
export const MXP_FLAGS = { COMPRESSED: 1, ENCRYPTED: 2, REQUIRES_ACK: 4, FINAL: 8 } as const

/** Bytes of a payload, at most; more encodes and does not decode, as in the genuine codec. */
export const MXP_MAX_PAYLOAD_BYTES = 16_777_216

export interface MxpMessage {
  readonly type: MxpType
  /** Bits of {@link MXP_FLAGS}, 0 to 15. */
  readonly flags: number
  /** An unsigned number of 64 bits, drawn at random; an answer has that of what it answers. */
  readonly messageId: bigint
  /** An unsigned number of 64 bits. */
  readonly traceId: bigint
  /** Opaque to the codec; by `decode` a view of the bytes it was given. */
  readonly payload: Uint8Array
}

/** Whether a message of this type is a question, as the genuine codec sees it: not a heartbeat, though its sender waits for an answer too. */
export const requiresResponse = (type: MxpType): boolean =>
  type === 'Call' || type === 'AgentRegister' || type === 'AgentDiscover'
