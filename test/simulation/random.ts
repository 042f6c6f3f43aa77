import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { nanoid } from 'nanoid'
import { mulberry32 } from '../support/mulberry32.ts'

/** Numbers that follow from a seed. */
export class Random {
  /** From 0 up to 1. */
  readonly next: () => number

  constructor(seed: number) {
    this.next = mulberry32(seed)
  }

  /** A number from `min` up to `max`. */
  between(min: number, max: number): number {
    return min + this.next() * (max - min)
  }

  /** An integer from 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item
  }
}

/** From now on all that is random in this process follows from `seed`. */
export function installRandom(seed: number): void {
  const random = new Random(seed)
  const pool = { filled: 0 }
  const fill = <Bytes extends NodeJS.ArrayBufferView>(bytes: Bytes): Bytes => {
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let i = 0; i < view.length; i++) view[i] = random.below(256)
    pool.filled++
    return bytes
  }
  Math.random = random.next
  Object.assign(crypto.webcrypto, { getRandomValues: fill })
  Object.assign(crypto, { randomBytes: (size: number) => fill(Buffer.alloc(size)) })
  syncBuiltinESMExports()
  // Uses up what nanoid keeps from before.
  while (pool.filled === 0) nanoid(1)
}
