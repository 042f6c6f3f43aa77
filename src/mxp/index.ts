/** `meshwire/mxp`: the wire format of MXP, for Node and browsers. */
export { decode, encode, encodedBytes } from './codec.ts'
export {
  MXP_FLAGS,
  MXP_MAX_PAYLOAD_BYTES,
  MXP_TYPES,
  type MxpMessage,
  type MxpType,
  requiresResponse,
} from './message.ts'
export { MxpError, type MxpVerdict } from './mxp-error.ts'
