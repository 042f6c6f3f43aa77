import { xxh3 } from './checksum.ts'
import { MXP_MAX_PAYLOAD_BYTES, MXP_TYPES, type MxpMessage, type MxpType } from './message.ts'
import { MxpError } from './mxp-error.ts'

/**
 * The wire format of MXP, as the code of mxp-protocol 0.2 has it: magic u32, type u8, flags u8, reserved u16, message id u64, trace id
 * u64, payload length u64, payload, checksum u64; all of them little-endian.
 */
const MAGIC = 0x4d58_5031
const HEADER_BYTES = 32
const CHECKSUM_BYTES = 8
const LEAST_BYTES = HEADER_BYTES + CHECKSUM_BYTES
const FLAGS_MAX = 0b1111
const U64_MAX = 0xffff_ffff_ffff_ffffn

const TYPES: ReadonlyMap<number, MxpType> = new Map(
  (Object.keys(MXP_TYPES) as MxpType[]).map((type) => [MXP_TYPES[type], type]),
)

const hex = (value: number | bigint): string => `0x${value.toString(16)}`

/** How many bytes the message has on the wire; a decoder passes over what follows them. */
export const encodedBytes = ({ payload }: MxpMessage): number => LEAST_BYTES + payload.length

function checkU64(field: string, value: bigint): void {
  if (value < 0n || value > U64_MAX) throw new RangeError(`${field} ${value} must be 0 to 2^64 - 1`)
}

/**
 * The message as bytes. The size of its payload is not looked at: more than 16 MiB encodes and does not decode.
 * @throws RangeError for a type that is none, flags beyond 15, an id beyond 64 bits
 */
export function encode({ type, flags, messageId, traceId, payload }: MxpMessage): Uint8Array {
  if (!Object.hasOwn(MXP_TYPES, type)) throw new RangeError(`type ${JSON.stringify(type)} is none of MXP`)
  if (!Number.isInteger(flags) || flags < 0 || flags > FLAGS_MAX)
    throw new RangeError(`flags ${flags} must be an integer of 0 to ${FLAGS_MAX}`)
  checkU64('messageId', messageId)
  checkU64('traceId', traceId)
  const end = HEADER_BYTES + payload.length
  const bytes = new Uint8Array(end + CHECKSUM_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint8(4, MXP_TYPES[type])
  view.setUint8(5, flags)
  view.setBigUint64(8, messageId, true)
  view.setBigUint64(16, traceId, true)
  view.setBigUint64(24, BigInt(payload.length), true)
  bytes.set(payload, HEADER_BYTES)
  view.setBigUint64(end, xxh3(bytes.subarray(0, end)), true)
  return bytes
}

/**
 * The message that the bytes begin with; what follows its checksum is ignored (compare `encodedBytes` to refuse it). Of several
 * breaches the first in the genuine decoder's order is told.
 * @throws MxpError
 */
export function decode(bytes: Uint8Array): MxpMessage {
  const { length } = bytes
  if (length < LEAST_BYTES) throw tooSmall(LEAST_BYTES, length)
  const view = new DataView(bytes.buffer, bytes.byteOffset, length)
  const magic = view.getUint32(0, true)
  if (magic !== MAGIC)
    throw new MxpError('InvalidMagic', `invalid magic number: expected 0x4D585031, got ${hex(magic)}`)
  const reserved = view.getUint16(6, true)
  if (reserved !== 0)
    throw new MxpError(
      'ReservedFieldNonZero',
      `reserved field header.reserved must be zero (found ${reserved})`,
    )
  const type = TYPES.get(view.getUint8(4))
  if (!type) throw new MxpError('InvalidMessageType', `invalid message type: ${hex(view.getUint8(4))}`)
  const flags = view.getUint8(5)
  if (flags > FLAGS_MAX)
    throw new MxpError('InvalidFlags', `invalid flags value: 0b${flags.toString(2).padStart(8, '0')}`)
  const size = view.getBigUint64(24, true)
  if (size > MXP_MAX_PAYLOAD_BYTES)
    throw new MxpError('PayloadTooLarge', `payload too large: ${size} bytes (max ${MXP_MAX_PAYLOAD_BYTES})`)
  const end = HEADER_BYTES + Number(size)
  if (length < end + CHECKSUM_BYTES) throw tooSmall(end + CHECKSUM_BYTES, length)
  const expected = xxh3(bytes.subarray(0, end))
  const found = view.getBigUint64(end, true)
  if (found !== expected)
    throw new MxpError('ChecksumMismatch', `checksum mismatch: expected ${hex(expected)}, got ${hex(found)}`)
  return {
    type,
    flags,
    messageId: view.getBigUint64(8, true),
    traceId: view.getBigUint64(16, true),
    payload: bytes.subarray(HEADER_BYTES, end),
  }
}

const tooSmall = (need: number, got: number): MxpError =>
  new MxpError('BufferTooSmall', `buffer too small: need ${need} bytes, got ${got}`)
