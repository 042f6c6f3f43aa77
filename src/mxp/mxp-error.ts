/** Why bytes are no MXP message: the names of the genuine decoder. */
export type MxpVerdict =
  | 'BufferTooSmall'
  | 'InvalidMagic'
  | 'ReservedFieldNonZero'
  | 'InvalidMessageType'
  | 'InvalidFlags'
  | 'PayloadTooLarge'
  | 'ChecksumMismatch'

/** What `decode` throws, and nothing else; the message is worded as that of the genuine decoder. */
export class MxpError extends Error {
  override readonly name = 'MxpError'
  readonly verdict: MxpVerdict

  constructor(verdict: MxpVerdict, message: string) {
    super(message)
    this.verdict = verdict
  }
}
