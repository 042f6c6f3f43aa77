import { RateLimit } from './rate-limit.ts'

/** Keys of one generation: about 10 MB, whoever comes. */
const KEYS_MAX = 50_000

/**
 * Token buckets by key. A bucket that nobody has used for as long as it takes to fill is full, and so forgotten: two generations, and each
 * time that has passed the elder one goes. Where more keys come than are kept the elder one goes sooner, so that the memory has a bound.
 */
export class RateTable {
  readonly #perSecond: number
  readonly #burst: number
  readonly #fillMs: number
  readonly #keysMax: number
  #young = new Map<string, RateLimit>()
  #old = new Map<string, RateLimit>()
  #turnedAt = 0

  /** @param perSecond 0: nothing is limited, and nothing kept */
  constructor(perSecond: number, burst: number, keysMax = KEYS_MAX) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#fillMs = perSecond === 0 ? 0 : (burst / perSecond) * 1_000
    this.#keysMax = keysMax
  }

  /** How many buckets are kept. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** As of one bucket: {@link RateLimit.take}. */
  take(key: string, now: number): number {
    return this.#perSecond === 0 ? 0 : this.#of(key, now).take(now)
  }

  /** As of one bucket: {@link RateLimit.reserve}. */
  reserve(key: string, now: number, count = 1): number {
    return this.#perSecond === 0 ? 0 : this.#of(key, now).reserve(now, count)
  }

  /** As of one bucket: {@link RateLimit.claim}. */
  claim(key: string, now: number): number {
    return this.#perSecond === 0 ? 0 : this.#of(key, now).claim(now)
  }

  /** As of one bucket: {@link RateLimit.promise}. */
  promise(key: string, now: number): number {
    return this.#perSecond === 0 ? 0 : this.#of(key, now).promise(now)
  }

  #of(key: string, now: number): RateLimit {
    // A clock that was set back: it goes on from there.
    if (now < this.#turnedAt) this.#turnedAt = now
    if (now - this.#turnedAt >= this.#fillMs || this.#young.size >= this.#keysMax) {
      // Nothing was looked at for two times that long: the younger generation is full as well.
      this.#old = now - this.#turnedAt >= 2 * this.#fillMs ? new Map() : this.#young
      this.#young = new Map()
      this.#turnedAt = now
    }
    const known = this.#young.get(key)
    if (known) return known
    const rate = this.#old.get(key) ?? new RateLimit(this.#perSecond, this.#burst, now)
    this.#old.delete(key)
    this.#young.set(key, rate)
    return rate
  }
}
