export * as LIMITS from './limit-values.ts'

export const PROTOCOL_VERSION = 1
export const SUBPROTOCOL = 'meshwire.v1'
