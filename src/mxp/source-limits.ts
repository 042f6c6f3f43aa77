import { networkOf, plain } from '../hub/network.ts'

interface Bucket {
  tokens: number
  at: number
}

/** Sources that are remembered, about 10 MB. */
const SOURCES_MAX = 100_000
/** How many of those heard of longest ago are looked at for one that can be forgotten, when there are as many and another one comes. */
const LOOKS_MAX = 4
/** Bytes of an answer that cost as much as one question. */
const BYTES_PER_TOKEN = 1_024

/** Milliseconds that a question waits for its turn, at most. With what answering takes, less than the 5 s that a client waits. */
const WAIT_MAX_MS = 3_000

/**
 * How much is answered to each source, an address of IPv4 or a /64 of IPv6: `perSecond` answers of up to 1 KiB sustained, twice that at once. A larger
 * answer counts for as many as it has KiB, so that whoever forges the address of somebody else cannot have the hub send that one much. Who asks one thing
 * after the other is slowed down.
 *
 * Only one whose bucket is full is ever forgotten, which changes nothing for it; where there is none such, those that come share one bucket. So forged
 * sources, however many, make room for nothing that is sent to somebody else.
 */
export class SourceLimits {
  readonly #perMs: number
  readonly #burst: number
  readonly #sourcesMax: number
  /** Who was heard of longest ago is first. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #shared: Bucket

  /** @param perSecond 0: no limit */
  constructor(perSecond: number, sourcesMax = SOURCES_MAX) {
    this.#perMs = perSecond / 1_000
    this.#burst = perSecond * 2
    this.#sourcesMax = sourcesMax
    this.#shared = { tokens: this.#burst, at: 0 }
  }

  /** Milliseconds until one more question of this address may be answered, 0: now; null: too many wait before it, and it gets no turn. */
  waitFor(address: string, now: number): number | null {
    if (this.#perMs === 0) return 0
    const bucket = this.#bucketOf(networkOf(plain(address)), now)
    bucket.tokens = this.#tokensOf(bucket, now)
    bucket.at = now
    const waitMs = Math.max(0, (1 - bucket.tokens) / this.#perMs)
    if (waitMs > WAIT_MAX_MS) return null
    bucket.tokens--
    return waitMs
  }

  /** An answer of so many bytes was sent; the first KiB has been counted. It may leave debts. */
  sent(address: string, bytes: number): void {
    const bucket = this.#buckets.get(networkOf(plain(address))) ?? this.#shared
    bucket.tokens -= Math.floor(bytes / BYTES_PER_TOKEN)
  }

  #tokensOf({ tokens, at }: Bucket, now: number): number {
    return Math.min(this.#burst, tokens + (now - at) * this.#perMs)
  }

  #bucketOf(source: string, now: number): Bucket {
    const known = this.#buckets.get(source)
    if (!known && !this.#hasRoom(now)) return this.#shared
    const bucket = known ?? { tokens: this.#burst, at: now }
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    return bucket
  }

  #hasRoom(now: number): boolean {
    if (this.#buckets.size < this.#sourcesMax) return true
    let looks = 0
    for (const [source, bucket] of this.#buckets) {
      if (this.#tokensOf(bucket, now) >= this.#burst) return this.#buckets.delete(source)
      if (++looks === LOOKS_MAX) break
    }
    return false
  }
}
