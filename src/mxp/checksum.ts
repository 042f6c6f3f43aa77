import { createXXHash3 } from 'hash-wasm'

/** Compiled while the module loads, so that encoding and decoding need not wait. */
const hasher = await createXXHash3()

/** XXH3-64 with seed 0 and the default secret. */
export function xxh3(bytes: Uint8Array): bigint {
  // Not `digest('binary')`, whose bytes are the greatest first and would have to be turned round.
  return BigInt(`0x${hasher.init().update(bytes).digest()}`)
}
