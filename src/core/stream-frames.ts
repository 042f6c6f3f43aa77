import type { StreamError } from '../../protocol/pushes.ts'

/**
 * What the two hubs of one stream tell each other, in order. `id` is the one that the sender's hub gave the stream, unique on
 * that hub. Counts are of all chunks so far, so what was lost is made good by the next one, and repeating does no harm.
 */
export type StreamFrame =
  // From the sender's hub to the receiver's.
  | {
      readonly op: 'open'
      readonly id: string
      /** The sender. */
      readonly from: string
      /** The receiver. */
      readonly to: string
      readonly correlationId: string | null
    }
  /** JSON texts; `seq` is that of the first one. */
  | { readonly op: 'chunks'; readonly id: string; readonly seq: number; readonly payloads: readonly string[] }
  /** After `count` chunks. `byHub`: not the sender ended it. */
  | {
      readonly op: 'end'
      readonly id: string
      readonly count: number
      readonly error: StreamError | null
      readonly byHub: boolean
    }
  /** The stream goes on, `count` chunks were passed on. */
  | { readonly op: 'sent'; readonly id: string; readonly count: number }
  /** There is no such stream here. */
  | { readonly op: 'unknown'; readonly id: string }
  // From the receiver's hub to the sender's.
  /** The stream is open; the receiver takes `credit` chunks in all, and `passed` were written to its socket. */
  | { readonly op: 'state'; readonly id: string; readonly credit: number; readonly passed: number }
  | { readonly op: 'cancel'; readonly id: string; readonly reason: string | null }
  /** It was not opened, or is over without the receiver's doing; `error` is null where there is no such stream here. */
  | { readonly op: 'over'; readonly id: string; readonly error: StreamError | null }
