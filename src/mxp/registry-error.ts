import { type ErrorCode, MeshError } from '../../protocol/errors.ts'
import { MXP_FLAGS, type MxpMessage } from './message.ts'
import type { MxpError } from './mxp-error.ts'
import { BadPayload } from './payload.ts'

/** What an Error message says besides its sentence, and what it means. The first eight are errors of the original registry. */
export const REGISTRY_CODES = {
  AGENT_NOT_FOUND: 'No registered agent has this id or name.',
  AGENT_NAME_EXISTS: 'Another agent that is not offline, or not of this door, has the name.',
  INVALID_AGENT_NAME: 'The name is against the rules.',
  INVALID_CAPABILITY: 'A capability is against the rules.',
  INVALID_CAPABILITIES: 'There are too many capabilities, or too few.',
  SERIALIZATION: 'The payload is not what its type calls for.',
  REDIS: 'The store does not answer. What was asked for may have been done: ask again.',
  INTERNAL: 'The hub failed at this request.',
  AGENT_ID_EXISTS: 'The id belongs to an agent of another door, or to one that is connected.',
  UNSUPPORTED_FLAG: 'The message is compressed or encrypted.',
  UNSUPPORTED_TYPE: 'This type is not served over UDP.',
  BUSY: 'Too many requests wait for the store.',
  NOT_REGISTERED: 'The connection has not registered its agent.',
  TRAILING_BYTES: 'Bytes follow the checksum in a WebSocket message.',
  UNKNOWN_STREAM: 'The connection sends no stream of that name.',
  CALL_FAILED: 'Nobody will answer the Call: it has expired, or was given up.',
  REVOKED: 'Work that was pushed belongs to somebody else now.',
} as const

/** A code of its own, or one of the mesh in capitals. */
export type RegistryCode = keyof typeof REGISTRY_CODES | Uppercase<ErrorCode>

/** A request that is answered with an Error. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: RegistryCode

  constructor(code: RegistryCode, message: string) {
    super(message)
    this.code = code
  }
}

/** Codes of the mesh that the original registry has names for; others keep theirs, in capitals. */
export const MESH_CODES: { readonly [Code in ErrorCode]?: RegistryCode } = {
  bad_frame: 'SERIALIZATION',
  invalid_name: 'INVALID_AGENT_NAME',
  invalid_capability: 'INVALID_CAPABILITY',
  name_taken: 'AGENT_NAME_EXISTS',
  agent_taken: 'AGENT_ID_EXISTS',
  unknown_target: 'AGENT_NOT_FOUND',
  store_unavailable: 'REDIS',
}

/** The code by which MXP tells one of the mesh. */
export const codeOf = (code: string): RegistryCode =>
  MESH_CODES[code as ErrorCode] ?? (code.toUpperCase() as Uppercase<ErrorCode>)

/** The payload of the Error that tells a failure; null where it is a fault of the hub, which is to be logged. */
export function errorBody(error: unknown): { readonly error: string; readonly code: RegistryCode } | null {
  if (error instanceof RegistryError) return { error: error.message, code: error.code }
  if (error instanceof BadPayload) return { error: error.message, code: 'SERIALIZATION' }
  if (error instanceof MeshError) return { error: error.message, code: codeOf(error.code) }
  return null
}

/** @throws RegistryError for a message whose payload is not what was meant: the hub neither decompresses nor decrypts */
export function checkFlags({ flags }: MxpMessage): void {
  if (flags & (MXP_FLAGS.COMPRESSED | MXP_FLAGS.ENCRYPTED))
    throw new RegistryError(
      'UNSUPPORTED_FLAG',
      'this hub takes nothing compressed or encrypted; send it plain',
    )
}

/** `ChecksumMismatch` → `CHECKSUM_MISMATCH` */
export const verdictCode = ({ verdict }: MxpError): string =>
  verdict.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
