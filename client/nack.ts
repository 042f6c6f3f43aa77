/** How a message is given back. */
export interface NackOptions {
  /** False: not again, to the dead letters. Default true. */
  readonly requeue?: boolean
  /** Milliseconds until it may come again; by default what `redeliveryDelayMs` says. */
  readonly delayMs?: number
}

/**
 * Thrown by a handler to say how the message is given back: `throw new Nack('busy', { delayMs: 5000 })`. Any other error is
 * like `new Nack(error.message)`. The reason is kept with a dead letter, cut to 256 characters.
 */
export class Nack extends Error {
  override readonly name = 'Nack'
  declare readonly requeue: boolean
  declare readonly delayMs: number | null

  constructor(reason: string, options: NackOptions = {}) {
    super(reason)
    this.requeue = options.requeue ?? true
    this.delayMs = options.delayMs ?? null
  }
}
