interface Bucket {
  tokens: number
  at: number
}

/** Addresses that are remembered; of more, the one that was heard of first is forgotten. */
const SOURCES_MAX = 10_000
/** Bytes of an answer that cost as much as one question. */
const BYTES_PER_TOKEN = 1_024

/** Milliseconds that a question waits for its turn, at most. With what answering takes, less than the 5 s that a client waits. */
const WAIT_MAX_MS = 3_000

/**
 * How much is answered to each address: `perSecond` answers of up to 1 KiB sustained, twice that at once. A larger answer counts for as many as it has
 * KiB, so that whoever forges the address of somebody else cannot have the hub send that one much. Who asks one thing after the other is slowed down.
 */
export class SourceLimits {
  readonly #perMs: number
  readonly #burst: number
  readonly #buckets = new Map<string, Bucket>()

  /** @param perSecond 0: no limit */
  constructor(perSecond: number) {
    this.#perMs = perSecond / 1_000
    this.#burst = perSecond * 2
  }

  /** Milliseconds until one more question of this address may be answered, 0: now; null: too many wait before it, and it gets no turn. */
  waitFor(address: string, now: number): number | null {
    if (this.#perMs === 0) return 0
    const bucket = this.#bucketOf(address, now)
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (now - bucket.at) * this.#perMs)
    bucket.at = now
    const waitMs = Math.max(0, (1 - bucket.tokens) / this.#perMs)
    if (waitMs > WAIT_MAX_MS) return null
    bucket.tokens--
    return waitMs
  }

  /** An answer of so many bytes was sent; the first KiB has been counted. It may leave debts. */
  sent(address: string, bytes: number): void {
    const bucket = this.#buckets.get(address)
    if (bucket) bucket.tokens -= Math.floor(bytes / BYTES_PER_TOKEN)
  }

  #bucketOf(address: string, now: number): Bucket {
    const known = this.#buckets.get(address)
    if (known) return known
    if (this.#buckets.size >= SOURCES_MAX) {
      const [first] = this.#buckets.keys()
      if (first !== undefined) this.#buckets.delete(first)
    }
    const bucket = { tokens: this.#burst, at: now }
    this.#buckets.set(address, bucket)
    return bucket
  }
}
